"""Small systems that several tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

# Two workers on two cores: one thread each.
torch.set_num_threads(1)
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

REPO = Path(__file__).parents[1]
SIZES = {
    "n_genres": 3, "z_ini": 4, "z_mov": 6, "z_dan": 8, "movement_hidden": 12, "unit_hidden": 16,
    "dance_encoder_hidden": 10, "dance_decoder_hidden": 14,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_signals() -> None:
    """Commands that run in the tests' process leave handlers; Lightning takes no signal that somebody else handles."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real data beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("D2M_SHARED", REPO.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data: {folder / 'data'} is absent (set D2M_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of random networks of tiny sizes."""
    from d2m.bundle import write_bundle
    from d2m.data.normalizer import Normalizer
    from d2m.nets.composition import Composition
    from d2m.nets.sizes import Sizes

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    net = Composition(Sizes(**SIZES))
    # Random decoders hardly move: louder heads make dances that a threshold can tell apart.
    with torch.no_grad():
        for p in net.unit_decoder.parameters():
            p.mul_(3)
    normalizer = Normalizer(rng.normal(size=28) * 30, np.full(28, 20.0), np.zeros(28), np.ones(28))
    return write_bundle(
        tmp_path_factory.mktemp("tiny") / "bundle",
        config={
            "sizes": net.sizes.to_dict(),
            "front_end": "mfcc",
            "style_mode": "windows",
            "motion_threshold": 0.0,
            "max_draws": 4,
        },
        state=net.state_dict(),
        normalizer=normalizer,
        genres=("flow", "groove", "drive"),
        genre_means={g: rng.normal(size=8).astype(np.float32) for g in ("flow", "groove", "drive")},
        provenance={"git": "test"},
        card="# test\n",
    )


@pytest.fixture(scope="session")
def judged_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a random motion classifier in it."""
    from d2m.bundle import read_bundle, write_bundle
    from d2m.nets.motion_style import MotionSizes, MotionStyle

    a = read_bundle(tiny_bundle)
    torch.manual_seed(0)
    net = MotionStyle(MotionSizes(3, 8))
    held_out = {"balanced_accuracy": 0.75, "chance": 1 / 3}
    config = {k: v for k, v in a.config.items() if k != "format"}
    return write_bundle(
        tmp_path_factory.mktemp("judged") / "bundle",
        config={**config, "motion_style": {"sizes": net.sizes.to_dict(), "held_out": held_out}}, state=a.state,
        normalizer=a.normalizer, genres=a.genres, genre_means=a.genre_means, provenance={}, card="",
        motion_style=net.state_dict(),
    )  # fmt: skip


@pytest.fixture
def song_features() -> np.ndarray:
    """(150, 28) features of an imagined 10 s song."""
    return np.random.default_rng(1).normal(size=(150, 28)).astype(np.float32)
