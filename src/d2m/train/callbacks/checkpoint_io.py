"""Checkpoints that are whole or not there: a job can be killed, or a disk full, at any byte."""

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

#: Beside ``last.ckpt``: the checkpoint before it, and one that was found damaged.
BEFORE, DAMAGED = "before.ckpt", "damaged.ckpt"


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and every byte of it is what was written (its archive's check sums; torch itself
    does not look at them)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False


def newest_whole(last: Path) -> Path:
    """``last``, or the checkpoint before it if that is whole and ``last`` is not."""
    before = last.with_name(BEFORE)
    return before if is_whole(before) and not is_whole(last) else last


def _keep(last: Path) -> None:
    """Give the checkpoint that is about to be replaced a second name; there is a whole one at every moment."""
    if not last.is_file():
        return
    second = last.with_name(f".{os.getpid()}.{BEFORE}")
    with suppress(OSError):  # a file system without links keeps the newest only
        second.unlink(missing_ok=True)
        os.link(last, second)
        os.replace(second, last.with_name(BEFORE))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes next to the target, then renames.

    Lightning's own goes through the machine's temporary folder. If that is on another file system, its last step is a
    copy over the previous checkpoint, and an interrupted copy leaves nothing to resume from. The bytes are on the disk
    before the name is, and of ``last.ckpt`` the one before stays as ``before.ckpt``: a machine can lose its power.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """As the base class, to a local path.

        Raises:
            D2MError: it cannot be written.
        """
        # To memory first: torch reports a full disk as one of many RuntimeErrors, a file as an OSError.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as tmp, open(tmp, "wb") as f:
            f.write(buffer.getbuffer())
            f.flush()
            os.fsync(f.fileno())
            if Path(path).name == "last.ckpt":
                _keep(Path(path))
