"""Latent study during training: means, edits, dances and figures every N epochs, always on the same songs."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

from d2m.bundle import read_bundle
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, write_json
from d2m.dance.encoding import Extraction
from d2m.dance.extraction import extract_corpus_music
from d2m.dance.generator import DanceGenerator
from d2m.data.corpus import Corpus
from d2m.edits.direction import save_direction
from d2m.edits.directions import load_direction
from d2m.edits.mean_shift import MeanShift
from d2m.nets.music_style import StyleMode
from d2m.reports.held_out import energy_extremes
from d2m.reports.judges import Judges, fit_judges
from d2m.reports.manipulation import Study, cosine, fixed_songs, study
from d2m.train.callbacks.abandon import Abandoned, abandonable
from d2m.train.callbacks.guard import evaluating
from d2m.train.callbacks.loggers import log_study
from d2m.train.callbacks.pace import note
from d2m.train.checkpoints import read_checkpoint
from d2m.train.modules.motion_style import read_motion_style
from d2m.train.stage import MOTION_STYLE, STAGES

#: Written last to an epoch's folder: if it exists, the epoch has been logged.
DONE = "summary.json"


@dataclass(frozen=True)
class _Time:
    """When a study takes place: after how many epochs; the last batch's number; optimizer steps so far."""

    epochs: int
    batch: int
    step: int


class LatentManipulation(pl.Callback):
    """Extracts and edits z_dan as the model trains; docs/dashboards.md lists the logged keys.

    Args:
        every_n_epochs: interval; the last epoch always counts.
        songs_per_genre: validation songs that are danced to, chosen once by ``seed``.
        latents_per_genre: number of training songs (and of validation songs) used for means and embeddings.
        seconds: of every dance. size: of the videos, pixels.
        seed: of all noise and choices, the same every time, so that only the model changes.
        source, target: genres of the direction; by default the most and the least energetic one of the corpus.
        reference: a bundle; its direction between the same two genres is compared with this run's.
        permutations: number of permutations behind the figures' null distributions.
        motion_style: a checkpoint of that stage, by default the run's own if it has one; the table lists its judge's
            probabilities as ``motion_GENRE``.
        axes: log success, content and naturalness of the mean shift and their harmonic mean. Their judges are fitted on
            the corpus's real dances at the first study (up to a minute) and kept in the run's folder.
        stage, run, corpus: given by the curriculum: the stage, the run's folder, the corpus of the songs.
        style_mode: of the dances, see :class:`d2m.nets.music_style.MusicStyle`.

    Runs on rank zero only, under no_grad, never in the sanity check or fast_dev_run, and restores every submodule's
    mode. An epoch whose folder is complete is not logged again when a run is resumed. A signal that ends training
    abandons the study; when the run is resumed, it is made before the next epoch.

    Raises:
        D2MError: an unknown genre; a reference whose z_dan has another width or that lacks these genres; a missing
            motion_style checkpoint, or one of other genres.
    """

    def __init__(
        self,
        every_n_epochs: int,
        songs_per_genre: int,
        latents_per_genre: int,
        seconds: float,
        size: int,
        seed: int,
        source: str | None,
        target: str | None,
        reference: str | None,
        permutations: int,
        motion_style: str | None,
        axes: bool,
        stage: str,
        run: RunFolder,
        corpus: Corpus,
        style_mode: StyleMode = "windows",
    ) -> None:
        if every_n_epochs < 1 or songs_per_genre < 1 or latents_per_genre < 1 or seconds < 1 or size < 32:
            raise D2MError("callbacks.latent: give at least 1 epoch, song, latent and second, and 32 pixels")
        self.every_n_epochs, self.seconds, self.seed, self.size = every_n_epochs, seconds, seed, size
        self.style_mode: StyleMode = style_mode
        self.permutations, self.stage, self.out, self.corpus = permutations, STAGES[stage], run.latent, corpus
        self.checkpoints = run.checkpoint(stage).parent
        self.axes = axes
        self._owed: _Time | None = None
        self.judges: Judges | None = None
        self.songs = fixed_songs(corpus, songs_per_genre, seed, ("val", "train"))
        self.latents = [
            *fixed_songs(corpus, latents_per_genre, seed, ("train",)),
            *fixed_songs(corpus, latents_per_genre, seed, ("val",)),
        ]
        named = {corpus.recordings[i].genre for i in self.latents}
        self.active = bool(self.songs) and len(named) > 1
        self.source, self.target = source, target
        if self.active:
            high, low = energy_extremes(corpus)
            if source is None or target is None:
                self.source = source or (high if target != high else low)
                self.target = target or (low if self.source != low else high)
        for key, genre in (("source", self.source), ("target", self.target)):
            if genre is not None and self.active and genre not in named:
                raise D2MError(
                    f"callbacks.latent.{key}={genre}: no song has this genre; choose from {', '.join(sorted(named))}"
                )
        if self.active and self.source == self.target:
            raise D2MError(f"callbacks.latent: source and target are both '{self.source}'; give two genres")
        own = run.checkpoint(MOTION_STYLE.name) if run.is_done(MOTION_STYLE.name) else None
        judge = own if motion_style is None else Path(motion_style)
        self.judge = None
        if judge is not None:
            read_checkpoint(judge, corpus.genres)
            self.judge = read_motion_style(judge, len(corpus.genres))
        self.reference = None
        if reference is not None and self.active:
            means = read_bundle(reference).genre_means
            self.reference = self._direction(means, f"callbacks.latent.reference={reference}").shift(np.zeros(1))

    def _direction(self, means: Any, what: str) -> MeanShift:
        try:
            return MeanShift(str(self.source), str(self.target)).from_means(means)
        except D2MError as e:
            raise D2MError(f"{what}: {e}") from None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Refuse a reference with another width of z_dan, before anything is trained."""
        if self.reference is not None and len(self.reference) != pl_module.net.sizes.z_dan:
            width = pl_module.net.sizes.z_dan
            raise D2MError(
                f"callbacks.latent.reference: its z_dan has width {len(self.reference)}, but this run's has {width}; "
                "choose another bundle"
            )

        if self._owed is not None and self._is_due(trainer, self._owed.epochs):
            self._try(trainer, pl_module, self._owed)

    def on_load_checkpoint(self, trainer: Any, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Notice an epoch of this run that ended without its study."""
        if Path(trainer.ckpt_path).parent != self.checkpoints:
            return  # continue_from: another run's epoch
        loop = checkpoint["loops"]["fit_loop"]
        epoch = loop["epoch_progress"]["current"]
        if epoch["processed"] > epoch["completed"]:  # written at an epoch's end, not within one
            batch = loop["epoch_loop.batch_progress"]["total"]["ready"] - 1
            self._owed = _Time(epoch["processed"], batch, checkpoint["global_step"])

    def on_train_epoch_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        time = _Time(trainer.current_epoch + 1, trainer.fit_loop.total_batch_idx, trainer.global_step)
        if self._is_due(trainer, time.epochs):
            self._try(trainer, pl_module, time)

    def _is_due(self, trainer: Any, epochs: int) -> bool:
        last = epochs == trainer.max_epochs or trainer.should_stop
        return self.active and not trainer.fast_dev_run and (last or epochs % self.every_n_epochs == 0)

    def _try(self, trainer: Any, pl_module: Any, time: _Time) -> None:
        folder = self.folder(time.epochs)
        if not trainer.is_global_zero or (folder / DONE).exists():
            return
        what = f"latent study of {self.stage.name}, epoch {time.epochs}"
        note(f"{what} (callbacks.latent.axes=false shortens it)")
        try:
            self.study(trainer, pl_module, time)
        except D2MError as e:  # a dance that cannot be drawn must not end a training
            rank_zero_warn(f"latent study of epoch {time.epochs} skipped: {e}")
        except Abandoned:
            shutil.rmtree(folder, ignore_errors=True)
            note(f"{what}: abandoned; made when the run is resumed")

    def folder(self, epoch: int) -> Path:
        """The folder of an epoch's files."""
        return self.out / f"{self.stage.name}-epoch{epoch:04d}"

    def _judges(self) -> Judges | None:
        """The judges fitted on the corpus, with the same seed in all runs, so that runs are comparable."""
        if self.axes and self.judges is None:
            with torch.enable_grad():
                self.judges = fit_judges(self.corpus, cache=self.out / "judge.safetensors")
        return self.judges

    @torch.no_grad()
    def study(self, trainer: Any, pl_module: Any, time: _Time) -> Study:
        """Run the study, write its files and log it; the summary is written last.

        Raises:
            Abandoned: a signal ends training; nothing was logged.
        """
        corpus, folder, epoch = self.corpus, self.folder(time.epochs), time.epochs
        with evaluating(pl_module), abandonable(trainer) as check:
            judge = None if self.judge is None else self.judge.to(pl_module.device)
            generator = DanceGenerator(
                pl_module.net, corpus.normalizer, corpus.genres, front_end=corpus.front_end, motion_style=judge,
                style_mode=self.style_mode,
            )  # fmt: skip
            table = extract_corpus_music(
                generator, corpus, Extraction(seed=self.seed), recordings=self.latents, batch=len(self.latents)
            )
            reading = study(
                generator, corpus, songs=self.songs, table=table, source=str(self.source), target=str(self.target),
                seconds=self.seconds, seed=self.seed, out=folder, size=self.size, permutations=self.permutations,
                judges=self._judges(), check=check,
            )  # fmt: skip
        direction = self._direction(table.training_rows().genre_means(), "latent study")
        here = direction.shift(np.zeros(1))
        before = self._previous(epoch)
        if before is not None and before.shape == here.shape:
            reading.scalars["cosine_previous"] = cosine(here, before)
        if self.reference is not None:
            reading.scalars["cosine_reference"] = cosine(here, self.reference)
        table.save(folder / "latents.npz")
        save_direction(folder / "direction", direction, table.meta["space"], {"stage": self.stage.name, "epoch": epoch})
        write_rows(folder / "table.csv", reading.rows, folder)
        scalars = {f"latent/{k}": v for k, v in reading.scalars.items()}
        axes = {"batch": float(time.batch), "epoch": float(epoch - 1)}
        for logger in trainer.loggers:
            log_study(logger, "latent", {**scalars, **axes}, reading.figures, reading.rows, time.step)
        facts = {"source": self.source, "target": self.target, "seed": self.seed, "skipped": reading.skipped, **axes}
        write_json(folder / DONE, {**facts, "scalars": reading.scalars})
        return reading

    def _previous(self, epoch: int) -> np.ndarray | None:
        """The direction logged before this epoch: by this stage, else by the stage it was warm-started from."""
        here, before = self.folder(epoch), list[Path]()
        for stage in (*self.stage.warm_starts, self.stage.name):
            before += sorted(p.parent for p in self.out.glob(f"{stage}-epoch*/{DONE}"))
        own = f"{self.stage.name}-"
        for folder in reversed([p for p in before if not p.name.startswith(own) or p < here]):
            try:
                direction, _ = load_direction(folder / "direction")
                facts = json.loads((folder / DONE).read_text())
            except (D2MError, OSError, ValueError):
                continue
            if (facts["source"], facts["target"]) == (self.source, self.target):
                return direction.shift(np.zeros(1))
        return None


def write_rows(path: Path, rows: list[dict[str, Any]], root: Path) -> None:
    """The table as CSV; videos relative to ``root``.

    Raises:
        D2MError: it cannot be written.
    """
    with atomic_path(path) as tmp, open(tmp, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows({**r, "video": r["video"].relative_to(root).as_posix()} for r in rows)
