"""Atomic checkpoints, complete or absent: a job can be killed, or a disk become full, at any byte."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from d2m.core.files import atomic_path

#: Beside ``last.ckpt``: the checkpoint before it, and one that turned out to be damaged.
BEFORE, DAMAGED = "before.ckpt", "damaged.ckpt"


def is_whole(path: Path) -> bool:
    """Whether a checkpoint exists and its contents match its archive's checksums, which torch does not verify."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False


def newest_whole(last: Path) -> Path:
    """``last``, or the checkpoint before it if only that one is intact."""
    before = last.with_name(BEFORE)
    return before if is_whole(before) and not is_whole(last) else last


def _keep(last: Path) -> None:
    """Give the checkpoint that is about to be replaced a second name, so that a complete one exists at every moment."""
    if not last.is_file():
        return
    second = last.with_name(f".{os.getpid()}.{BEFORE}")
    with suppress(OSError):  # without hard links only the newest is kept
        second.unlink(missing_ok=True)
        os.link(last, second)
        os.replace(second, last.with_name(BEFORE))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes next to the target, then renames.

    Lightning writes to the system's temporary folder first. If that is on another file system, its last step is a copy
    over the previous checkpoint, and an interrupted copy leaves nothing to resume from. Here the data is synced to disk
    before the rename, and the previous ``last.ckpt`` is kept as ``before.ckpt``, in case of a power failure.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """As the base class, to a local path.

        Raises:
            D2MError: it cannot be written.
        """
        # To memory first: torch reports a full disk as an unspecific RuntimeError, a plain file write as an OSError.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as tmp, open(tmp, "wb") as f:
            f.write(buffer.getbuffer())
            f.flush()
            os.fsync(f.fileno())
            if Path(path).name == "last.ckpt":
                _keep(Path(path))
