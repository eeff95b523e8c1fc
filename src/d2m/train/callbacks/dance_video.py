"""A video of a dance to a fixed validation song every N epochs, for the run's folder and the logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS
from d2m.dance.generator import DanceGenerator
from d2m.dance.together import dance_to
from d2m.data.corpus import Corpus
from d2m.draw.video import render_dance
from d2m.metrics.motion import mean_energy
from d2m.nets.music_style import StyleMode
from d2m.reports.held_out import real_scale
from d2m.train.callbacks.guard import evaluating
from d2m.train.callbacks.loggers import log_video


class DanceVideo(pl.Callback):
    """Renders the dance to the first genre's first validation song as the model trains.

    Args:
        every_n_epochs: interval; the last epoch always counts. seconds: how much of the song.
        seed: of the dance's noise, the same every time, so that only the model changes.
        stage, run, corpus: set by the curriculum: its stage, the run's folder, and the corpus of the song.
        style_mode: of the dance, see :class:`d2m.nets.music_style.MusicStyle`.

    Also logged: ``val/dance_kinetic_energy`` in torso lengths²/s², at the real dance's scale.

    Runs on rank zero only, under no_grad, and never in the sanity check.

    Raises:
        D2MError: less than one epoch, or no time to dance in.
    """

    def __init__(
        self,
        every_n_epochs: int,
        seconds: float,
        seed: int,
        stage: str,
        run: RunFolder,
        corpus: Corpus,
        style_mode: StyleMode = "windows",
    ) -> None:
        if every_n_epochs < 1 or seconds <= 0:
            raise D2MError("callbacks.dance_video: give at least 1 epoch, and more than 0 seconds")
        self.stage = stage
        self.every_n_epochs = every_n_epochs
        self.seconds = seconds
        self.seed = seed
        self.style_mode: StyleMode = style_mode
        self.out = run.videos
        self.corpus = corpus
        songs = [*corpus.recordings_in("val", with_music=True), *corpus.recordings_in("train", with_music=True)]
        self.song = int(songs[0]) if songs else None

    def on_train_epoch_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs or trainer.should_stop
        if self.song is None or trainer.fast_dev_run or (epoch % self.every_n_epochs and not last):
            return
        if trainer.is_global_zero:
            self.render(trainer, pl_module, epoch)

    @torch.no_grad()
    def render(self, trainer: pl.Trainer, pl_module: Any, epoch: int) -> Path:
        """Dance, encode, log; returns the mp4."""
        assert self.song is not None
        corpus, recording = self.corpus, self.corpus.recordings[self.song]
        n = min(int(self.seconds * FPS), len(corpus.song_features(self.song)))
        generator = DanceGenerator(
            pl_module.net, corpus.normalizer, corpus.genres, front_end=corpus.front_end, style_mode=self.style_mode
        )
        beats = corpus.song_beats(self.song)
        with evaluating(pl_module):
            dance = dance_to(generator, corpus.song_features(self.song), beats[beats < n / FPS], n, seed=self.seed)
        poses = dance.poses["original"]
        path = self.out / f"{self.stage}-epoch{epoch:04d}.mp4"
        caption = f"{recording.name}, epoch {epoch}"
        render_dance(path, [poses], captions=[caption], audio=corpus.song_wave(self.song, n), seconds=n / FPS)
        batch = int(trainer.fit_loop.total_batch_idx)
        energy = mean_energy(poses, real_scale(corpus, self.song))
        for logger in trainer.loggers:
            log_video(logger, "val/dance", path, batch, caption)
            logger.log_metrics({"val/dance_kinetic_energy": energy, "batch": float(batch)}, step=batch)
        return path
