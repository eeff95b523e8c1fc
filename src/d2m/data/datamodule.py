"""The Lightning data module: one loader per kind of item; batches are normalised and shifted on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from d2m.core.errors import D2MError
from d2m.core.skeleton import N_JOINTS, STYLE_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.sampling import KINDS, Batch, Items, TrainBatches, ValBatches
from d2m.music.front_ends import front_end
from d2m.music.front_ends.augment import change_rows, check_augment
from d2m.nets.rows import Rows


class KeySampler(Sampler[tuple[int, int]]):
    """Keys (epoch, batch) of the current epoch from batch ``start`` on. Lightning calls ``set_epoch``.

    With ``repeat``, every epoch cycles through the keys of the first ``repeat`` batches of the first epoch.
    """

    def __init__(self, steps: int, repeat: int | None = None) -> None:
        self.steps, self.epoch, self.start = steps, 0, 0
        self.repeat = repeat

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for batch in range(self.start, self.steps):
            yield self.key(self.epoch, batch)

    def key(self, epoch: int, batch: int) -> tuple[int, int]:
        """The key from which a batch of an epoch is drawn."""
        return (epoch, batch) if self.repeat is None else (0, batch % self.repeat)

    def __len__(self) -> int:
        return self.steps


class ResumableLoader(DataLoader[Batch]):
    """A loader over keys that continues after the last batch it handed out; Lightning checkpoints its state.

    Its iterator is lazy, because Lightning creates the first one before it sets the epoch.
    """

    _next: tuple[int, int] = (0, 0)
    _resume: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        keys = self.sampler
        assert isinstance(keys, KeySampler)
        resume, self._resume = self._resume, None
        keys.start = resume[1] if resume is not None and resume[0] == keys.epoch else 0
        self._next = keys.epoch, keys.start
        for batch in super().__iter__():
            self._next = self._next[0], self._next[1] + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self._next[0], "batch": self._next[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume = state["epoch"], state["batch"]


class DanceDataModule(pl.LightningDataModule):
    """Batches of a prepared corpus, of one kind of items.

    On the device, all float32 and normalised:

    - unit_pairs: ``units1``, ``units2`` (b, 32, 28), two copies of a unit, each shifted as a whole by its own
      draw; ``genre`` (b,).
    - units: ``units`` (b, 32, 28), shifted in training; ``genre`` (b,). No music.
    - songs: ``features`` (b, 30, f), a 2 s window; ``genre`` (b,); in training also ``tempo`` (b,), octaves above 120
      BPM, NaN if unknown.
    - sequences: ``units`` (b, 3, 32, 28), consecutive; ``features`` (b, 30, f), a random 2 s window
      of the music within their span (in validation, the middle one); ``genre`` and ``recording`` (b,); ``unit``
      (b,), the row in the corpus of the first unit.

    Training batches are drawn genre-uniform with replacement, validation is a fixed genre-balanced pass
    (:mod:`d2m.data.sampling`). Use it with ``Trainer(use_distributed_sampler=False)``: each process reads its rows of
    every batch. Validation batches also have their ``number`` in the pass, or None if they must not be counted.

    Args:
        root: folder of a prepared corpus.
        kind: of the items, one of :data:`d2m.data.sampling.KINDS`.
        batch_size: total over all processes, a multiple of their number.
        seed: of the random draws.
        steps_per_epoch: batches per epoch; by default as many as there are items in the training split.
        shift: largest shift in x and y, pixels (unit_pairs, units).
        num_workers: processes that read batches; 0 is usually enough, as the corpus is memory-mapped.
        max_val_batches: total over all devices.
        val_split: the split used for validation.
        span_features: batches of sequences also have ``span_features`` (b, 96, f), the features of the music at
            every frame of their units.
        augment: ranges of :func:`d2m.music.front_ends.augment.draw_change`; None: no augmentation. In training, the
            features and ``tempo`` of every row are then those of augmented music, and ``rate`` (b,) is the change of
            its tempo in octaves. Omitted ranges take the defaults of ``draw_change``.
        repeat_batches: train on this many batches only, see :class:`KeySampler`; None: every epoch draws new ones.

    Raises:
        D2MError: invalid options, or a front end that does not support augmentation.
    """

    def __init__(
        self,
        root: str,
        kind: str,
        batch_size: int = 64,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        shift: tuple[float, float] = (50.0, 20.0),
        num_workers: int = 0,
        max_val_batches: int = 20,
        val_split: str = "val",
        span_features: bool = False,
        augment: dict[str, float] | None = None,
        repeat_batches: int | None = None,
    ) -> None:
        super().__init__()
        root, shift = str(root), (float(shift[0]), float(shift[1]))
        self.save_hyperparameters()
        if kind not in KINDS:
            raise D2MError(f"no item kind '{kind}'; choose from {', '.join(KINDS)}")
        counts = (batch_size, max_val_batches, steps_per_epoch, repeat_batches)
        if any(n is not None and n < 1 for n in counts):
            raise D2MError("batch_size, steps_per_epoch, max_val_batches and repeat_batches must be at least 1")
        self.root, self.kind, self.batch_size, self.seed = root, kind, batch_size, seed
        self.steps_per_epoch, self.shift, self.num_workers = steps_per_epoch, shift, num_workers
        self.max_val_batches, self.val_split, self.span_features = max_val_batches, val_split, span_features
        self.augment, self.repeat_batches = augment, repeat_batches
        self._corpus: Corpus | None = None

    @property
    def corpus(self) -> Corpus:
        """Opened on first use."""
        if self._corpus is None:
            self._corpus = Corpus.open(self.root)
        return self._corpus

    def setup(self, stage: str) -> None:
        """Open the corpus, so that a bad one is refused before training starts."""
        self.corpus.normalizer  # noqa: B018 (read and checked)
        if self.augment is not None:
            check_augment(front_end(self.corpus.front_end), self.augment)

    def _rows(self) -> Rows:
        return Rows() if self.trainer is None else Rows(self.trainer.global_rank, self.trainer.world_size)

    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": None,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def train_dataloader(self) -> ResumableLoader:
        items = Items(self.corpus, self.kind, "train", self.span_features)
        batches = TrainBatches(items, self.batch_size, self.seed, self.shift, self._rows(), self.augment)
        steps = self.steps_per_epoch or max(1, -(-items.size // self.batch_size))
        return ResumableLoader(batches, sampler=KeySampler(steps, self.repeat_batches), **self._options())

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The fixed pass; an empty list if the split has no such items."""
        items = Items(self.corpus, self.kind, self.val_split, self.span_features)
        if not len(items):
            return []
        # The total over all processes; Lightning would let each process iterate over this many.
        limit = getattr(self.trainer, "limit_val_batches", None)
        most = limit if isinstance(limit, int) and limit > 0 else None
        batches = ValBatches(items, self.batch_size, self.seed, self.shift, self.max_val_batches, self._rows(), most)
        return DataLoader(batches, **self._options())

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Whole songs of ``val_split``, one a batch: ``features`` (1, t, f), ``recording`` and ``genre`` (1,)."""
        songs = [int(i) for i in self.corpus.recordings_in(self.val_split, with_music=True)]
        batches = [
            {
                "features": torch.from_numpy(np.array(self.corpus.song_features(i)))[None],
                "recording": torch.tensor([i]),
                "genre": torch.from_numpy(self.corpus.recording_genre[[i]]),
            }
            for i in songs
        ]
        return DataLoader(batches, **{**self._options(), "num_workers": 0, "persistent_workers": False})  # type: ignore[arg-type]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> Batch:
        """Raw batch -> the batch described above."""
        normal, out = self.corpus.normalizer, dict(batch)
        if "change" in out:
            change, hears = out.pop("change"), front_end(self.corpus.front_end)
            for name, frames in (("features", STYLE_FRAMES), ("span_features", None)):
                if name in out:
                    out[name] = change_rows(hears, out[name], change, frames)
            out["rate"] = change.tempo.log2()
            if "tempo" in out:
                out["tempo"] = out["tempo"] + out["rate"]
        for name in ("features", "span_features"):
            if name in out:
                out[name] = normal.normalize_features(out[name])
        if "shift" in out:
            units, shift = out.pop("units"), out.pop("shift")
            copies = shift.shape[1]
            for copy in range(copies):
                moved = units + shift[:, copy].repeat(1, N_JOINTS)[:, None]
                name = f"units{copy + 1}" if copies > 1 else "units"
                out[name] = normal.normalize_poses(moved)
        elif "units" in out:
            out["units"] = normal.normalize_poses(out["units"])
        return out
