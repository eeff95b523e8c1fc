"""Starting a stage from a checkpoint: reading it, checking it against config and corpus, copying its networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from d2m.bundle import sha256
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero
from d2m.data.corpus import Corpus
from d2m.nets.sizes import Sizes, sizes_in
from d2m.train.callbacks.checkpoint_io import DAMAGED, is_whole
from d2m.train.callbacks.pace import note
from d2m.train.request import start_checkpoint, starts_from
from d2m.train.stage import Stage
from d2m.train.steps import load_networks

#: Checkpoint key of the names of the corpus's genres, in class order.
GENRES = "genres"


def read_checkpoint(path: Path, genres: Sequence[str] | None = None) -> dict[str, Any]:
    """A Lightning checkpoint, with ``weights_only=True``.

    Args:
        genres: of the corpus, in class order, if the checkpoint must have the same; None: not checked.

    Raises:
        D2MError: missing, unreadable, or of other genres.
    """
    if not path.is_file():
        raise D2MError(f"{path}: no such checkpoint; give the path of a stage's last.ckpt")
    try:
        ckpt: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        ckpt["state_dict"]
    except Exception as e:  # torch raises many kinds for a bad file
        raise D2MError(f"{path}: not a readable checkpoint; give the path of a stage's last.ckpt") from e
    if genres is not None:
        _check_genres(ckpt, path, genres)
    return ckpt


def _check_genres(ckpt: dict[str, Any], path: Path, genres: Sequence[str]) -> None:
    if GENRES not in ckpt:
        _warn_of_no_names(path, tuple(genres))
    elif list(ckpt[GENRES]) != list(genres):
        raise D2MError(
            f"{path}: was trained on the genres {', '.join(ckpt[GENRES])}, but the corpus has {', '.join(genres)}; "
            "give a checkpoint or a corpus of the same genres"
        )


@cache
def _warn_of_no_names(path: Path, genres: tuple[str, ...]) -> None:
    if is_rank_zero():
        print(f"{path}: does not name its genres; assumed to be {', '.join(genres)}, in this order")


def check_style_network(module: pl.LightningModule, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that a checkpoint's music style network is the one that the config asks for.

    Raises:
        D2MError: it is another one.
    """
    if "hyper_parameters" not in checkpoint:
        return  # loading its tensors will tell
    held, wanted = (
        sizes_in(h).get("style_network", Sizes.style_network) for h in (checkpoint["hyper_parameters"], module.hparams)
    )
    if held != wanted:
        choice = "paper" if held == "gru" else held
        raise D2MError(
            f"{path}: its style network is '{held}', the config's '{wanted}'; give model/music_style={choice}"
        )


def _first_mismatch(error: RuntimeError) -> str:
    """The first tensor in torch's message about missing, unexpected or misshapen ones."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)].rstrip(".") if lines else "other tensors"


def warm_start(
    module: pl.LightningModule, stage: Stage, sources: dict[Stage, Path], genres: Sequence[str]
) -> dict[str, str]:
    """Copy the networks that a stage is warm-started from; returns "stage: file" -> sha256.

    Args:
        sources: stage -> its checkpoint, for each of the stage's warm starts.

    Raises:
        D2MError: a checkpoint lacks them, or has other sizes, other genres or another style network.
    """
    used = {}
    for source, path in sources.items():
        checkpoint = read_checkpoint(path, genres if source.knows_genres else None)
        if source.hears:
            check_style_network(module, checkpoint, path)
        try:
            for here, there in stage.warm_starts[source.name].items():
                load_networks(module, checkpoint["state_dict"], here, there)
        except (KeyError, RuntimeError) as e:
            if isinstance(e, KeyError) or "Missing key" in str(e):
                lacks = e.args[0] if isinstance(e, KeyError) else "it has other networks"
                raise D2MError(
                    f"{path}: does not fit stage {stage.name} as its {source.name} ({lacks}); give the "
                    f"{source.name}/last.ckpt of a run"
                ) from e
            raise D2MError(
                f"{path}: does not fit stage {stage.name} as its {source.name} ({_first_mismatch(e)}); give the "
                "size=... and the corpus it was trained with"
            ) from e
        used[f"{source.name}: {path.name}"] = sha256(path)
    return used


def check_continues(
    module: pl.LightningModule, path: Path, stage: Stage, max_epochs: int, genres: Sequence[str] | None = None,
    decay: float | None = None,
) -> None:  # fmt: skip
    """Check that training can continue from a checkpoint of another run.

    Args:
        decay: of the stage's weight averages; None if it keeps none.

    Raises:
        D2MError: it is of another stage, has other sizes or genres, keeps averages although the stage does not, or has
            already trained ``max_epochs`` epochs.
    """
    checkpoint = read_checkpoint(path)
    check_averages(checkpoint, path, stage, decay)
    if stage.hears:
        check_style_network(module, checkpoint, path)
    shapes = {k: tuple(v.shape) for k, v in checkpoint["state_dict"].items()}
    wanted = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise D2MError(
                f"{path}: does not fit stage {stage.name}: tensor '{name}' has shape {shapes.get(name, 'none')}, the "
                f"config and the corpus's genres require {wanted.get(name, 'none')}"
            )
    try:
        done = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["total"]["processed"])
    except (KeyError, TypeError, ValueError) as e:
        raise D2MError(f"{path}: contains no training state to continue; use init_from.{stage.name}") from e
    if 0 < max_epochs <= done:
        raise D2MError(f"{path}: has already trained {done} epochs; set fit.{stage.name}.max_epochs above that")
    if stage.knows_genres and genres is not None:
        _check_genres(checkpoint, path, genres)


def check_averages(checkpoint: Mapping[str, Any], path: Path, stage: Stage, decay: float | None) -> None:
    """Check that a checkpoint's averages are continued as averages: Lightning would load them as the weights to train.

    Raises:
        D2MError: the checkpoint keeps averages, and ``callbacks.ema`` has no decay for the stage.
    """
    if decay is None and "averaging_state" in checkpoint:
        raise D2MError(
            f"{path}: keeps averaged weights beside those that are trained; give callbacks.ema.{stage.name}=..., the "
            "decay that it was trained with"
        )


def begin(
    module: pl.LightningModule, cfg: DictConfig, stage: Stage, run: RunFolder, corpus: Corpus
) -> tuple[Path | None, dict[str, Any]]:
    """Warm-start the module, or find the checkpoint to resume from; returns that (or None) and the stage's progress.

    Raises:
        D2MError: a checkpoint does not fit.
    """
    start, last = start_checkpoint(cfg, stage, run), run.checkpoint(stage.name)
    if start is not None and start.parent == last.parent:
        if start != last and is_rank_zero() and last.exists():
            # Moved away: otherwise writing the next checkpoint would keep the damaged one as before.ckpt.
            last.replace(last.with_name(DAMAGED))
            note(f"{last}: damaged; stage {stage.name} goes on from the checkpoint before it, {start}", logging.WARNING)
        if not is_whole(start):
            raise D2MError(
                f"{start}: damaged, and there is no checkpoint before it; delete it to train stage {stage.name} from "
                "its beginning"
            )
        checkpoint = read_checkpoint(start, corpus.genres if stage.knows_genres else None)
        if stage.hears:
            check_style_network(module, checkpoint, start)
        return start, run.progress(stage.name)
    if start is None:
        sources = warm_start(module, stage, starts_from(cfg, stage, run), corpus.genres)
    else:
        decay = cfg.callbacks.ema.get(stage.name)
        check_continues(module, start, stage, cfg.fit[stage.name].max_epochs, corpus.genres, decay)
        sources = {f"continue_from: {start.name}": sha256(start)}
    return start, {"warm_start": sources}
