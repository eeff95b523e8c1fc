"""``d2m infer``: songs in, dances out, file by file; its arguments are conf/infer.yaml."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out, exit_on_signals
from d2m.core.progress import bar
from d2m.core.seeds import check_seed
from d2m.dance.dancer import Dance, Dancer
from d2m.dance.files import read_z_dan
from d2m.data.songs import find_songs
from d2m.edits.request import EditRequest, build_edit
from d2m.music.beats import check_tracker

#: Threads that write videos at most; each holds a dance and an encoder.
MAX_WRITERS = 4


def output_names(songs: list[Path]) -> list[str]:
    """A name for every song, no two alike: its stem; if two share one, the suffix is added, then the folders."""
    spelled = [[s.stem, f"{s.stem}_{s.suffix[1:]}"] for s in songs]
    for song, names in zip(songs, spelled, strict=True):
        for folder in reversed(song.absolute().parent.parts[1:]):
            names.append(f"{folder}_{names[-1]}")
    level = [0] * len(songs)
    while True:
        names = [s[k] for s, k in zip(spelled, level, strict=True)]
        counts = Counter(names)
        shared = [i for i, n in enumerate(names) if counts[n] > 1 and level[i] + 1 < len(spelled[i])]
        if not shared:
            return names
        for i in shared:
            level[i] += 1


def check_values(cfg: DictConfig) -> None:
    """See that nothing that has to be said is null, and that the seed is one.

    Raises:
        D2MError: naming the key.
    """
    for key in ("bundle", "audio", "out"):
        if not cfg[key]:
            raise D2MError(f"{key}={cfg[key] or ''}: give {key}=...; d2m infer --help shows all")
    for key in ("seed", "warp", "video", "device"):
        if cfg[key] is None:
            raise D2MError(f"{key}=null: give a value, or omit {key}=")
    check_seed(cfg.seed, -(2**63), 2**63 - 1)  # torch's


class Writers:
    """Writes dances, videos above all, on threads of their own while the next song is danced to.

    A song's files appear together or not at all. At most one dance per thread waits, so that memory holds few.

    Args:
        out: an existing folder. formats: suffixes of a song's files.
    """

    def __init__(self, out: Path, formats: Sequence[str]) -> None:
        self.out, self.formats = out, formats
        self.failed: dict[Path, str] = {}
        self._threads = min(MAX_WRITERS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads)
        self._waiting: deque[tuple[Path, Future[None]]] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def save(self, song: Path, name: str, dance: Dance) -> int:
        """Write a song's files soon; returns how many songs were finished meanwhile."""
        self._waiting.append((song, self._pool.submit(self._write, name, dance)))
        return self._settle(self._threads)

    def finish(self) -> int:
        """Wait for all; returns how many songs that were."""
        return self._settle(0)

    def _settle(self, left: int) -> int:
        n = len(self._waiting)
        while len(self._waiting) > left:
            song, writing = self._waiting.popleft()
            try:
                writing.result()
            except D2MError as e:
                self.failed[song] = str(e)
        return n - len(self._waiting)

    def _write(self, name: str, dance: Dance) -> None:
        with appear_together(self.out, instead_of=(f"{name}.mp4",)) as part:
            for suffix in self.formats:
                dance.save(part / f"{name}{suffix}")


def infer(cfg: DictConfig) -> list[Path]:
    """Dance to every song of the request; returns the songs done.

    Raises:
        D2MError: of the request itself, before anything is written; or, after the good songs are done, one line
            that lists the bad ones.
    """
    check_values(cfg)
    dancer = Dancer.load(cfg.bundle, device=str(cfg.device), style_mode=cfg.style_mode)
    check_tracker(dancer.generator.beat_tracker)
    request = EditRequest.of(cfg.edit)
    strength = request.amount()
    edit = build_edit(request, dancer.generator)
    z_dan = None if cfg.z_dan is None else read_z_dan(cfg.z_dan, dancer.generator.net.sizes.z_dan)
    songs = find_songs(cfg.audio)
    out = Path(cfg.out)
    check_out(out)
    formats = (".npz", ".mp4", ".json") if cfg.video else (".npz", ".json")
    bad: dict[Path, str] = {}
    with bar(len(songs), "dancing") as step, Writers(out, formats) as writers:
        for song, name in zip(songs, output_names(songs), strict=True):
            step(0, description=song.name[:40])
            try:
                dance = dancer(song, seed=cfg.seed, edit=edit, strength=strength, warp=cfg.warp, z_dan=z_dan)
                if cfg.z_dan is not None:
                    dance = replace(dance, facts={**dance.facts, "z_dan": Path(cfg.z_dan).name})
                written = writers.save(song, name, dance)
            except D2MError as e:
                bad[song], written = str(e), 1
            step(written)
        step(writers.finish())
        bad |= writers.failed
    done = [song for song in songs if song not in bad]
    reasons = [bad[song] for song in songs if song in bad]
    if bad and len(songs) == 1:
        raise D2MError(reasons[0])
    if bad:
        raise D2MError(f"{len(done)} of {len(songs)} dances written to {out}; failed: " + " | ".join(reasons))
    return done


@job("infer")
def main(cfg: DictConfig) -> None:
    """Dance to the songs that the config names."""
    exit_on_signals()
    if cfg.state is None:
        done = infer(cfg)
    else:
        from d2m.cli.state import dance_state

        done = [dance_state(cfg)]
    print(f"{len(done)} {'dance' if len(done) == 1 else 'dances'} in {cfg.out}")
