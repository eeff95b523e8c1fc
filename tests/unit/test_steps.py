"""The noise of a batch: a function of seed, stream, epoch and batch, of which each process takes its rows."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from d2m.nets.composition import Composition
from d2m.nets.du_vae import DUVAE
from d2m.nets.sizes import Sizes
from d2m.train.modules.motion_style import MotionStyleModule
from d2m.train.modules.music_style import MusicStyleModule
from d2m.train.steps import draw_noise, step_generator, total_batches, val_number

SMALL = {
    "z_ini": 2, "z_mov": 3, "z_dan": 4, "style": 5, "n_genres": 2, "n_features": 6, "movement_hidden": 4,
    "unit_hidden": 4, "dance_encoder_hidden": 4, "dance_decoder_hidden": 4,
}  # fmt: skip


def draw(seed: int = 0, stream: str = "train", epoch: int = 0, batch: int = 0, rank: int = 0) -> tuple[float, ...]:
    module: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    return tuple(torch.randn(4, generator=step_generator(module, stream, batch, seed)).tolist())


def test_equal_keys_draw_alike_and_no_two_others_do() -> None:
    keys = list(product((0, 1, 2**63), ("train", "val", "predict"), (0, 1), range(4), (0, 1)))
    drawn = {k: draw(*k) for k in keys}
    torch.randn(3)  # the global generator has no say
    assert all(draw(*k) == v for k, v in drawn.items())
    # Whatever process draws it, and in prediction never what another does.
    shared = {k: v for k, v in drawn.items() if k[1] != "predict"}
    assert all(v == drawn[(*k[:4], 0)] for k, v in shared.items())
    trained = {v for k, v in drawn.items() if k[1] == "train"}
    assert len(trained) == 3 * 2 * 4
    # Validation is the same at every epoch, and never training's.
    assert all(v == drawn[(*k[:2], 0, *k[3:])] for k, v in drawn.items() if k[1] != "train")
    assert len(set(drawn.values())) == 3 * (2 * 4 + 4 + 2 * 4)


def test_neighbours_are_not_correlated() -> None:
    rows = torch.tensor([draw(batch=i) for i in range(2000)])
    following = torch.corrcoef(torch.stack([rows[:-1].flatten(), rows[1:].flatten()]))[0, 1]
    assert abs(float(following)) < 0.05 and abs(float(rows.mean())) < 0.05 and abs(float(rows.std()) - 1) < 0.05


@pytest.mark.parametrize("what", ["units", "sequences", "music", "motion"])
def test_processes_take_their_rows_of_one_draw(what: str) -> None:
    sizes = Sizes.from_dict(SMALL)
    options: dict[str, Any] = {"feature_noise": 1.0, "song_shift": 1.0, "dropout": 0.5}
    source: Any = {
        "units": lambda: DUVAE(sizes), "sequences": lambda: Composition(sizes),
        "music": lambda: MusicStyleModule(SMALL, **options), "motion": lambda: MotionStyleModule(SMALL, 4),
    }[what]()  # fmt: skip
    shape = {"units": (32, 28), "sequences": (3, 32, 28), "music": (30, 6), "motion": (32, 28)}[what]

    def noise(rank: int, world: int) -> Any:
        trainer = SimpleNamespace(global_rank=rank, world_size=world)
        module: Any = SimpleNamespace(current_epoch=1, global_rank=rank, _trainer=trainer, hparams={"seed": 3})
        return draw_noise(module, source.draw_noise, torch.zeros(6 // world, *shape), "train", 2)

    whole, parts = noise(0, 1), [noise(rank, 3) for rank in range(3)]
    for rank, part in enumerate(parts):
        assert type(part) is type(whole)
        assert all(map(torch.equal, part, whole.rows(slice(2 * rank, 2 * rank + 2), 6)))
    for name in set(whole._fields) - {"frames"}:
        drawn = [getattr(part, name) for part in parts]
        joined = torch.cat([x.unflatten(0, (-1, 2)) for x in drawn], dim=1 if what == "units" else 0)
        assert torch.equal(joined.flatten(0, 1), getattr(whole, name)), name


def test_a_repeated_validation_batch_does_not_count() -> None:
    assert val_number({"number": 3}, 1) == (3, True)
    assert val_number({"number": None}, 1) == (1, False)
    assert val_number({}, 1) == (1, True)  # of whoever feeds batches by hand


def test_batches_are_counted_whatever_is_accumulated() -> None:
    trainer = SimpleNamespace(num_training_batches=5, max_epochs=3, accumulate_grad_batches=2)
    module: Any = SimpleNamespace(trainer=trainer)
    assert total_batches(module) == 15
