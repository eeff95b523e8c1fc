"""A dance as files: arrays (npz), a video with sound (mp4), how it was made (json). And latents from an npy file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from d2m.bundle import sha256
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, write_json
from d2m.core.skeleton import FPS, JOINTS
from d2m.draw.video import render_dance

if TYPE_CHECKING:
    from d2m.dance.dancer import Dance


def read_z_dan(path: str, width: int) -> NDArray[np.float32]:
    """A latent from an npy file, (d,) or (n, d).

    Raises:
        D2MError: missing, unreadable, or another shape.
    """
    try:
        z = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise D2MError(f"z_dan={path}: not a readable .npy file; save one with numpy.save") from e
    if not isinstance(z, np.ndarray) or z.dtype.kind not in "fiu" or z.ndim not in (1, 2) or z.shape[-1] != width:
        shape = getattr(z, "shape", "?")
        raise D2MError(f"z_dan={path}: shape {shape}; this bundle takes ({width},) or (n,{width}) numbers")
    return z.astype(np.float32)


def save_dance(dance: Dance, path: Path) -> Path:
    """Write a dance atomically, in the format of the suffix.

    Raises:
        D2MError: another suffix, or it cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise D2MError(f"{path}: unknown suffix for a dance; use {', '.join(_FORMATS)}")
    _FORMATS[path.suffix](dance, path)
    return path


def _arrays(dance: Dance, path: Path) -> None:
    """With an edit, ``poses`` is the target dance, and ``poses_original`` and ``poses_neutral`` are stored as well."""
    versions = dance.versions
    arrays: dict[str, Any] = {
        "poses": dance.poses,
        "fps": np.int64(FPS),
        "joint_names": np.array(JOINTS),
        "music_beats": versions.music_beats,
        "dance_beats": versions.dance_beats,
        "z_dan": dance.z_dan,
        "seed": np.int64(dance.seed),
    }
    if dance.edit is not None:
        for name in ("original", "neutral"):
            arrays[f"poses_{name}"], arrays[f"z_dan_{name}"] = versions.poses[name], versions.z_dan[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with atomic_path(path) as temp:
        temp.write_bytes(buffer.getvalue())


def captions(dance: Dance) -> dict[str, str]:
    """Version -> caption of its picture.

    Only the target is named: the song's genre is not known, and an edit's source is merely what was requested.
    """
    if dance.edit is None:
        return {"original": dance.song.path.stem if dance.song.path else "dance"}
    target, amount, own = getattr(dance.edit, "target", None), dance.strength, getattr(dance.edit, "caption", None)
    if own is not None:
        how = ""
    elif isinstance(amount, int | float):
        how = f"x{amount:g}"
    else:
        first, last = amount.at(np.array([0.0, dance.song.seconds]))
        how = f"x{first:g} to x{last:g}"
    return {
        "original": "original",
        "neutral": "neutral",
        "target": own or (f"target ({target}, {how})" if target else f"edited ({how})"),
    }


def _video(dance: Dance, path: Path) -> None:
    titles, song = captions(dance), dance.song
    sound = song.wave if song.path is None else song.path
    panels = [dance.versions.poses[k] for k in titles]
    render_dance(path, panels, captions=list(titles.values()), audio=sound, seconds=song.seconds)


def describe(dance: Dance) -> dict[str, Any]:
    """How a dance was made, plain values."""
    song, edit, amount = dance.song, dance.edit, dance.strength
    edited: dict[str, Any] | None = None
    if edit is not None:
        constant = isinstance(amount, int | float)
        edited = {
            "name": getattr(edit, "name", type(edit).__name__),
            "source": getattr(edit, "source", None),
            "target": getattr(edit, "target", None),
            "strength": amount if constant else None,
            "schedule": None if constant else amount.table(),  # type: ignore[union-attr]
            "params": getattr(edit, "params", {}),
            **{"file": None, "latents": None, "rows": None, **getattr(edit, "origin", {})},
            **dance.versions.edit_facts,
        }
    return {
        **dance.facts,
        "song": None if song.path is None else song.path.name,
        "song_sha256": None if song.path is None else sha256(song.path),
        "seconds": song.seconds,
        "frames": song.frames,
        "seed": dance.seed,
        "warp": dance.warp,
        "edit": edited,
        "music_style": dict(dance.music_style),
        "music_style_by_segment": [
            {"centre_s": float(centre), "genres": dict(genres)}
            for centre, genres in zip(dance.versions.centres_s, dance.music_style_by_segment, strict=False)
        ],
        "draws": dance.versions.draws.tolist(),
        "segments_below_motion_threshold": int((~dance.versions.accepted).sum()),
    }


def _facts(dance: Dance, path: Path) -> None:
    write_json(path, describe(dance))


#: Suffix -> function that writes it.
_FORMATS: dict[str, Callable[[Dance, Path], None]] = {".npz": _arrays, ".mp4": _video, ".json": _facts}
