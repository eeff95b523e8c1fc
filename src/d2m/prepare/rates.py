"""Frame rates that a file or a reader has wrong: what hands, feet and the length of the music tell about them.

Motion alone tells little: over real dances the speed of hands and feet, their spectrum and the bounce of the hips
spread by more than the factor between two usual rates (docs/adr/0059).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.motion.kinematics import hip_midpoint, torso_length
from d2m.prepare.sources.aistpp import AIST_FPS, aist_genre
from d2m.prepare.sources.coco17 import split_camera
from d2m.prepare.sources.openpose import RATE_FILE
from d2m.prepare.stated import Stated

Floats = NDArray[np.float64]

#: Median speed of hands and feet relative to the hips, torsos/s over 0.1 s; dancers have 0.4 to 3.5.
_TOO_FAST = 7.0
#: Below this frame rate, real hands and feet are faster than the second number, or still (below the third). Poses at 30
#: fps that are read as 3 fps are in between.
_FEW_FPS, _TOO_SLOW, _STILL = 12.0, 0.45, 0.02
#: Lowest plausible frame rate: below it the file's or the reader's rate is wrong, unless the user states it.
_FEWEST_FPS = 8.0
_RATES = (10.0, 12.0, 12.5, 15.0, 20.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 100.0, 120.0, 240.0)
#: Lengths of motion and music that differ by more than the second number, but agree at another rate to the first.
_EQUAL_S, _DIFFER_S = 0.08, 0.25
_ENDS = tuple(JOINTS.index(f"{side}_{joint}") for joint in ("wrist", "ankle") for side in ("right", "left"))
_FEWEST = 8


def assumed_rate(source: str, path: Path, stated: Stated) -> float | None:
    """The frame rate that a reader assumes because neither the recording nor the user states one; else None."""
    file = split_camera(path)[0]
    suffix = file.suffix.lower()
    if stated.fps or source not in ("openpose", "coco17", "aistpp"):
        return None
    if source == "openpose":
        return None if (path / RATE_FILE).is_file() else 30.0
    if suffix == ".pkl":
        return None if aist_genre(file) else AIST_FPS
    return 30.0 if suffix in (".json", ".npy") or (suffix == ".npz" and not _states_rate(file)) else None


def _states_rate(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return "fps.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return True  # the reader will report it


def look_at_rate(x: Floats, fps: float, where: str, may_state: bool, is_stated: bool) -> None:
    """Refuse frame rates at which a body moves as no human does.

    Args:
        x: (t, 14, 2 or 3), NaN if unseen.
        may_state: the source reads fps=. is_stated: the user states it.

    Raises:
        D2MError: names the option that fixes it.
    """
    if fps < _FEWEST_FPS and not is_stated:
        mend = f"set the right rate, e.g. fps=30 (fps={fps:g} if it is right)" if may_state else "leave it out"
        raise D2MError(f"{where}: {fps:g} frames per second are too few for a dance; {mend}")
    step = max(1, round(0.1 * fps))
    about = x[:, _ENDS] - hip_midpoint(x)[:, None]
    torso = torso_length(x)
    if len(about) <= step or not torso > 0:
        return
    away = np.linalg.norm(about[step:] - about[:-step], axis=-1) * (fps / step) / torso
    if np.isfinite(away).sum() < _FEWEST:
        return
    speed = float(np.nanmedian(away))
    mend = "set the right rate, e.g. fps=30" if may_state else "re-encode the film at its true rate"
    if speed > _TOO_FAST:
        raise D2MError(f"{where}: at {fps:g} frames per second hands and feet move at {speed / 2:.0f} m/s; {mend}")
    if fps < _FEW_FPS and _STILL < speed < _TOO_SLOW:
        raise D2MError(f"{where}: at {fps:g} frames per second hands and feet move at only {speed / 2:.2f} m/s; {mend}")


def likely_rate(fps: float, motion_s: float, music_s: float, near_s: float = 0.3) -> float | None:
    """The usual frame rate at which a motion would last as long as its music, to ``near_s`` or 0.4 %; None if there is
    none, or it is that of the file."""
    rate = fps * motion_s / max(music_s, 1e-9)
    best = min(_RATES, key=lambda r: abs(np.log(r / max(rate, 1e-9))))
    near = abs(rate / best - 1.0) * music_s < max(near_s, 0.004 * music_s) and abs(best / fps - 1.0) > 0.002
    return best if near else None


def check_lengths(fps: float, motion_s: float, music_s: float, where: str) -> None:
    """Refuse lengths that differ little, as they may, but exactly as if the frame rate were another usual one.

    Raises:
        D2MError: names that rate.
    """
    best = likely_rate(fps, motion_s, music_s, _EQUAL_S)
    if best is not None and abs(motion_s - music_s) > _DIFFER_S and abs(best / fps - 1.0) > 0.03:
        raise D2MError(
            f"{where}: {motion_s:.2f} s of motion but {music_s:.2f} s of music, equally long at {best:g} frames per "
            f"second: set fps={best:g} (fps={fps:g} if it is right)"
        )
