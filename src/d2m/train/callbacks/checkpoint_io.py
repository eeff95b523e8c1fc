"""Checkpoints that are whole or not there: a job can be killed, or a disk full, at any byte."""

from __future__ import annotations

import io
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from d2m.core.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes next to the target, then renames.

    Lightning's own goes through the machine's temporary folder. If that is on another file system, its last step is a
    copy over the previous checkpoint, and an interrupted copy leaves nothing to resume from.
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
