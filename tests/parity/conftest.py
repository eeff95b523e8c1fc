"""The recorded checkpoints, imported as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest
from parity_recording import PARITY

from d2m.original.convert import import_original


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the recorded checkpoints with stage 2's unit decoder, and resume/ beside it."""
    out = tmp_path_factory.mktemp("imported") / "bundle"
    return import_original(PARITY / "Stage1.ckpt", PARITY / "Stage2.ckpt", PARITY / "aud_3cls.ckpt", out).folder
