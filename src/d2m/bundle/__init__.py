"""Trained systems and runs on disk: bundles, run folders, passports and signatures.

:mod:`d2m.bundle.format` writes and reads bundles. Checkpoints of the reference implementation are converted by
:mod:`d2m.original` (``d2m import-original``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from d2m.core.files import sha256

if TYPE_CHECKING:
    from d2m.bundle.format import (
        CARD,
        CONFIG,
        FILES,
        FORMAT,
        GENRE_MEANS,
        GENRES,
        MOTION_STYLE,
        NORMALIZER,
        PROVENANCE,
        WEIGHTS,
        Bundle,
        read_bundle,
        write_bundle,
    )

__all__ = [
    "CARD", "CONFIG", "FILES", "FORMAT", "GENRES", "GENRE_MEANS", "MOTION_STYLE", "NORMALIZER", "PROVENANCE", "WEIGHTS",
    "Bundle", "read_bundle", "sha256", "write_bundle",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Lazy, so that reading run.json (d2m runs) does not import torch.
    if name in __all__:
        return getattr(importlib.import_module("d2m.bundle.format"), name)
    raise AttributeError(f"module 'd2m.bundle' has no attribute '{name}'")
