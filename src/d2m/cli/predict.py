"""``d2m infer devices=N``: the songs of a request divided among N processes by Lightning's ``Trainer.predict``."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.multiprocessing.spawn import ProcessExitedException
from torch.utils.data import DataLoader

from d2m.cli.dances import Work
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.progress import bar
from d2m.dance.dancer import Dancer

# Set here, because every process imports this module: Lightning's notices about training are irrelevant to inference.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")


def _say_nothing(*_: Any, **__: Any) -> None:
    """Progress callback of the processes that show no bar."""


class Predictor(pl.LightningModule):
    """Dances to the songs (by number) of a batch and writes their files.

    Args:
        failures: an existing folder, to which every process writes the errors of its songs.
    """

    def __init__(self, dancer: Dancer, work: Work, failures: Path) -> None:
        super().__init__()
        self.dancer, self.work, self.failures = dancer, work, failures
        self.bad: dict[str, str] = {}
        # Registered as submodules, so that Lightning moves them to the process's device.
        self.net, self.motion_style = dancer.generator.net, dancer.generator.motion_style

    def predict_step(self, batch: Sequence[int], batch_idx: int) -> None:
        shown = bar(len(batch), f"dancing, process 1 of {self.trainer.world_size}", "songs")
        progress: Any = shown if self.trainer.is_global_zero else nullcontext(_say_nothing)
        with self.work.writers() as writers, progress as step:
            bad = self.work.dance(self.dancer, batch, writers, step)
            step(writers.finish())
        self.bad |= {str(song): line for song, line in (bad | writers.failed).items()}

    def on_predict_end(self) -> None:
        write_json(self.failures / f"{self.global_rank}.json", self.bad)


def dance_on_devices(dancer: Dancer, work: Work, device: str, devices: int) -> dict[Path, str]:
    """Dance to the songs of ``work`` in ``devices`` processes; returns song -> error of those that failed.

    A song's dance is bit-identical in every process. Each process takes every N-th song.

    Raises:
        D2MError: fewer GPUs than ``devices``, or a process died.
    """
    if device == "cuda" and torch.cuda.device_count() < devices:
        raise D2MError(f"devices={devices}: this machine has {torch.cuda.device_count()} GPUs")
    # All songs of a process are one batch, within which the next songs are read while others are danced to.
    size = -(-len(work.songs) // devices)
    songs: Any = DataLoader(range(len(work.songs)), batch_size=size, collate_fn=list)  # type: ignore[arg-type]
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=devices, strategy="ddp_spawn", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        try:
            trainer.predict(Predictor(dancer, work, Path(folder)), songs, return_predictions=False)
        except ProcessExitedException as e:
            raise D2MError(f"devices={devices}: a process ended before its songs were danced to ({e})") from e
        lines = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(devices)]
    return {Path(song): line for failed in lines for song, line in failed.items()}
