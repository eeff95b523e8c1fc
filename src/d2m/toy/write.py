"""Writes the embedded corpus as a raw folder, in the layout that real data has.

manifest.csv        name, genre, frames, seconds, music_bpm, audio, pose, group, licence
audio/NAME.flac     mono 22.05 kHz, 16 bits
pose3d/NAME.npz     joints (T, 14, 3) float32 in cm (y up, right-handed), joint_names, fps, genre, units
truth/NAME.npz      what only the generator knows: beats, bpm, lag_s, moves, the song's character, ... (for tests)
synthetic.json      the arguments, so that the same call finds its corpus again
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.core.skeleton import FPS, HOP, JOINTS, SAMPLE_RATE
from d2m.toy.clock import draw_clock
from d2m.toy.dancers import Dance, dance, draw_dancer
from d2m.toy.genres import GENRES, Genre, draw_character
from d2m.toy.songs import Song, compose

#: Raise it when the same arguments give different songs or dances.
VERSION = 5
MIN_SECONDS = 4.0
STAMP = "synthetic.json"


@dataclass(frozen=True)
class Stamp:
    """What a corpus was made from."""

    version: int
    n_songs_per_genre: int
    seconds: float
    seed: int
    genres: list[str]


def make_pair(genre: str, seconds: float, rng: np.random.Generator) -> tuple[Song, Dance]:
    """One song of round(15 seconds) frames' length and a dance to it.

    Raises D2MError if there is no such genre.
    """
    recipe = _recipe(genre)
    n_frames = round(seconds * FPS)
    clock = draw_clock(recipe.tempo, rng)
    song = compose(recipe, draw_character(rng), clock, n_frames * HOP, rng)
    return song, dance(recipe, draw_dancer(recipe, song.character, rng), clock, n_frames, song.level, rng)


def write_corpus(
    root: str | os.PathLike[str],
    n_songs_per_genre: int = 12,
    seconds: float = 40.0,
    seed: int = 0,
    genres: Sequence[str] = tuple(GENRES),
) -> Path:
    """Write the corpus to the folder `root` and return it; the same arguments give the same bytes.

    A folder that already holds this very corpus is left alone. The folder appears complete or not at all.
    Song i of a genre does not depend on how many songs or genres there are.

    Raises D2MError for an unknown genre, a length under 4 s, no songs, or a `root` that holds something else.
    """
    root = Path(root)
    if n_songs_per_genre < 1:
        raise D2MError(f"n_songs_per_genre is {n_songs_per_genre}: give at least 1")
    if not MIN_SECONDS <= seconds < math.inf:
        raise D2MError(f"seconds is {seconds}: give at least {MIN_SECONDS:g}")
    if seed < 0:
        raise D2MError(f"seed={seed}: give 0 or more")
    if not genres or len(set(genres)) < len(genres):
        raise D2MError(f"genres is {list(genres)}: name one or more, each once")
    for genre in genres:
        _recipe(genre)
    stamp = Stamp(VERSION, int(n_songs_per_genre), float(seconds), int(seed), list(genres))
    try:
        if _holds(root, stamp):
            return root
        root.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise _unwritable(root, error) from error
    try:
        _write(scratch, stamp)
        scratch.chmod(0o755)
        os.replace(scratch, root)
    except OSError as error:
        if _holds(root, stamp):  # another process was first
            return root
        raise _unwritable(root, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root


def _unwritable(root: Path, error: OSError) -> D2MError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "the disk is full" if full else error.strerror or str(error)
    return D2MError(f"{root}: cannot write here ({reason}); choose a folder you can write, with room")


def _recipe(genre: str) -> Genre:
    if genre not in GENRES:
        raise D2MError(f"unknown synthetic genre {genre!r}: choose from {', '.join(GENRES)}")
    return GENRES[genre]


def _holds(root: Path, stamp: Stamp) -> bool:
    """Whether `root` is this corpus; False if it is absent or an empty folder."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        stored = json.loads((root / STAMP).read_text())
    except (OSError, ValueError):
        stored = None
    if stored != asdict(stamp):
        raise D2MError(
            f"{root}: contains something other than this synthetic corpus; remove it or choose another folder"
        )
    return True


def _write(folder: Path, stamp: Stamp) -> None:
    for part in ("audio", "pose3d", "truth"):
        (folder / part).mkdir()
    rows = []
    order = list(GENRES)
    with bar(len(stamp.genres) * stamp.n_songs_per_genre, "composing", "songs") as update:
        for genre in stamp.genres:
            for number in range(stamp.n_songs_per_genre):
                rng = np.random.default_rng([stamp.seed, order.index(genre), number])
                song, performed = make_pair(genre, stamp.seconds, rng)
                rows.append(_write_pair(folder, f"{genre}_{number:03d}", genre, song, performed))
                update()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / STAMP).write_text(json.dumps(asdict(stamp), indent=2) + "\n")


def _write_pair(folder: Path, name: str, genre: str, song: Song, performed: Dance) -> dict[str, object]:
    audio, pose = f"audio/{name}.flac", f"pose3d/{name}.npz"
    # FLAC: Ogg files carry a random serial number, so they would differ from run to run.
    coded = io.BytesIO()  # libsndfile does not say that a disk is full
    soundfile.write(coded, song.wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    (folder / audio).write_bytes(coded.getvalue())
    np.savez_compressed(
        folder / pose,
        joints=performed.joints,
        joint_names=np.array(JOINTS),
        fps=np.int64(FPS),
        genre=np.array(genre),
        units=np.array("cm, y-up, right-handed"),
    )
    dancer = performed.dancer
    np.savez_compressed(
        folder / "truth" / f"{name}.npz",
        beats=song.beats,
        downbeats=song.downbeats,
        bpm=np.float64(song.clock.bpm),
        sections=np.array(song.sections),
        level=song.level,
        moves=np.array(performed.moves),
        lag_s=np.float64(dancer.lag_s),
        amplitude=np.float64(dancer.amplitude),
        height=np.float64(dancer.body.height),
        intensity=np.float64(song.character.intensity),
        articulation=np.float64(song.character.articulation),
        lead=np.float64(song.character.lead),
    )
    frames = len(performed.joints)
    return {
        "name": name,
        "genre": genre,
        "frames": frames,
        "seconds": round(frames / FPS, 2),
        "music_bpm": round(song.clock.bpm, 2),
        "audio": audio,
        "pose": pose,
        "group": name,
        "licence": "generated",
    }
