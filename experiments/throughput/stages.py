"""The program's stages under Lightning's Trainer, and a plain step of each with the same losses and weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.nets.sizes import Sizes
from d2m.train.curriculum import build_module
from d2m.train.stage import STAGES
from experiments.command import REPO
from experiments.throughput.plain_others import PlainGenerator, PlainMotionStyle, PlainMusicStyle
from experiments.throughput.plain_steps import PlainDUVAE, PlainGAN

#: Losses of ours and of the plain step may differ by the rounding of sums.
TOLERANCE = 2e-4


class Row(NamedTuple):
    """A row of the table: a stage, by the paper's numbers or by the program's own."""

    stage: str
    paper: bool
    #: The plain step beside it is the reference's as released, whatever its losses.
    released: bool


ROWS = {
    "stage 1": Row("du_vae", True, True),
    "stage 2, the paper's losses": Row("mm_gan", True, True),
    "stage 2, our losses": Row("mm_gan", False, True),
    "generator": Row("generator", False, False),
    "music_style": Row("music_style", True, False),
    "motion_style": Row("motion_style", False, False),
}


def rows_of(asked: str) -> list[str]:
    """Names of :data:`ROWS`, separated by semicolons, or all.

    Raises:
        D2MError: no such row.
    """
    chosen = list(ROWS) if asked == "all" else asked.split(";")
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        raise D2MError(f"rows={asked}: no row '{unknown[0]}'; choose from {'; '.join(ROWS)}")
    return chosen


def config(size: str, paper: bool, *overrides: str) -> Any:
    """conf/train.yaml with the paper's numbers, or with the program's own recipe on the paper's networks.

    Always the paper's music features and style network, and the style of 2 s, so that both sides hear the same.
    """
    chosen = [f"size={size}"] + (["experiment=paper"] if paper else ["model/music_style=paper", "data.front_end=mfcc"])
    common = ["model.mm_gan.span=false", "model.generator.span=false"]
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", [*chosen, *common, *overrides])


def module_of(row: Row, size: str, corpus: Corpus) -> pl.LightningModule:
    torch.manual_seed(0)
    return build_module(config(size, row.paper), STAGES[row.stage], len(corpus.genres), corpus.n_features)


def data_of(row: Row, corpus: Corpus, batch: int) -> DanceDataModule:
    return DanceDataModule(str(corpus.folder), STAGES[row.stage].items, batch_size=batch, steps_per_epoch=10**6)


def trainer_of(device: str, precision: str, batches: int, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    """Epochs of so many batches, one by default; silent, nothing written but what a callback writes."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    kept = any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks)
    return pl.Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu", precision=precision,  # type: ignore[arg-type]
        limit_train_batches=batches, limit_val_batches=0, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=kept, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=callbacks, **{"devices": 1, "max_epochs": 1, **options},
    )  # fmt: skip


def plain_of(row: Row, module: pl.LightningModule, released: bool) -> nn.Module:
    """The plain step of a stage with the module's weights; as released, always the paper's losses."""
    hparams: Mapping[str, Any] = module.hparams
    sizes = Sizes.from_dict(hparams["sizes"])
    plain: nn.Module
    if row.stage == "du_vae":
        plain = PlainDUVAE(sizes, module.weights)  # type: ignore[arg-type]
    elif row.stage == "mm_gan":
        from d2m.nets.losses.mm_gan import DEFAULT, DISCRIMINATOR, GENERATOR, STYLE

        own = {**module.d_weights, **module.g_weights, **module.style_weights}  # type: ignore[dict-item]
        paper = {name: DEFAULT.get(name, 0.0) for name in (*DISCRIMINATOR, *GENERATOR, *STYLE)}
        plain = PlainGAN(sizes, paper if released else own, released)
    elif row.stage == "generator":
        plain = PlainGenerator(sizes, module.weights, hparams)  # type: ignore[arg-type]
    elif row.stage == "music_style":
        plain = PlainMusicStyle(sizes, hparams)
    else:
        plain = PlainMotionStyle(sizes.n_genres, hparams)
    state = module.state_dict()
    missing = plain.load_state_dict(
        {k: v for k, v in state.items() if k in plain.state_dict()}, strict=False
    ).missing_keys
    left_out = (
        {k for k in missing if not k.startswith(("movement_disc", "dance_disc"))}
        if row.stage == "generator"
        else missing
    )
    assert not left_out, f"{row.stage}: the plain networks have {sorted(left_out)[:3]} of their own"
    return plain.to(module.device)


def check_equal(row: Row, module: pl.LightningModule, plain: nn.Module, batch: dict[str, Tensor]) -> dict[str, float]:
    """Compare the losses of both at the same weights and noise, one after the other.

    Returns:
        Name -> relative difference.

    Raises:
        AssertionError: one of them differs by more than :data:`TOLERANCE`, or is computed by one side alone.
    """
    with torch.no_grad():
        mine, theirs = both_losses(row, module, plain, batch, plain.draw(batch))  # type: ignore[operator]
    assert theirs.keys() <= mine.keys(), f"{row.stage}: only the plain step computes {theirs.keys() - mine.keys()}"
    weights = getattr(plain, "term_weights", None) or getattr(plain, "weights", {})
    weighed = {k for k, w in weights.items() if w} or set(theirs)
    assert weighed <= theirs.keys(), f"{row.stage}: the plain step lacks {weighed - theirs.keys()}"
    off = {k: abs(float(v - mine[k])) / max(abs(float(v)), 1e-3) for k, v in theirs.items()}
    assert max(off.values()) < TOLERANCE, f"{row.stage}: losses differ, {off}"
    return off


def both_losses(
    row: Row, module: Any, plain: Any, batch: dict[str, Tensor], noise: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Unweighted losses of the program's stage and of the plain step."""
    theirs = plain.losses(batch, noise)
    if row.stage == "motion_style":
        logits = module.net(batch["units"] * (1 + module.hparams["size_jitter"] * noise))
        smoothing = module.hparams["label_smoothing"]
        each = (nn.functional.cross_entropy(x, batch["genre"], label_smoothing=smoothing) for x in logits)
        return dict(zip(("guide", "judge"), each, strict=True)), theirs
    if row.stage == "music_style":
        return {"loss": module.loss(batch["features"], batch["genre"], noise)}, theirs
    if row.stage == "du_vae":
        return module.losses(batch, noise), theirs
    from d2m.train.movements import read_batch

    real = read_batch(module.net, batch, noise, None)
    if row.stage == "generator":
        return module.losses(real, noise), theirs
    mine = module.discriminator_phase(real, noise)
    mine |= module.generator_phase(real, noise, bool(module.g_weights["recon"]), recording=batch["recording"])
    return {**mine, **module.style_phase(real, noise)}, theirs


def batches_of(data: DanceDataModule, n: int, device: str) -> list[dict[str, Tensor]]:
    """Whole batches on the device, as a stage gets them."""
    data.setup("fit")
    loader = iter(data.train_dataloader())
    moved = ({k: v.to(device) if isinstance(v, Tensor) else v for k, v in next(loader).items()} for _ in range(n))
    return [data.on_after_batch_transfer(batch) for batch in moved]


def folder_of(out: Path) -> Path:
    """Where the made corpus of the experiments lies."""
    return out / "corpus"
