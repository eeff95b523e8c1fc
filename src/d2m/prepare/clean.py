"""Cleans a clip: poses at 15 fps without gaps, and the time spans not to be trusted.

The steps: remove joints of low confidence; undo exchanged sides; remove jumps and impossible limbs; fill the gaps;
smooth noise at the native rate; resample to 15 fps; normalise the scale. Nothing is cut out or shifted in time, so that
the motion stays in sync with the music. Spans that cannot be repaired are filled too, and listed in ``rejected``, so
that no unit is cut there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS
from d2m.motion.kinematics import torso_length
from d2m.prepare.filters import (
    drop_broken_frames,
    drop_jumps,
    drop_long_limbs,
    fill_gaps,
    frozen,
    long_gaps,
    mend_sides,
    runs,
    scene_cuts,
    seen,
)
from d2m.prepare.smooth import TORSO_PX, normalise_scale, one_euro, savitzky_golay, to_fps
from d2m.prepare.sources.clip import PoseClip

SMOOTHINGS = ("auto", "savgol", "one_euro", "none")
#: From this rate on, smoothing can remove noise that 15 fps would alias.
_SMOOTH_FROM_FPS = 22.0
_AROUND_CUT_S = 0.2


@dataclass(frozen=True, eq=False)
class CleanClip:
    """Poses at exactly 15 fps, on the clip's own clock.

    joints: (t, 14, c) float32, finite; pixels of a 50-pixel torso about the median hip midpoint, or cm.
    rejected: (n, 2) seconds in which poses are made up (long gaps, scene cuts, frozen poses): cut no unit there.
    scale: factor applied to pixels (1 for 3-D). filled, dropped: shares of joints that were missing, and that were
    removed as implausible. genre: as stated in the file.
    """

    joints: NDArray[np.float32]
    rejected: NDArray[np.float64]
    scale: float
    filled: float
    dropped: float
    genre: str | None = None
    fps: float = FPS
    native_fps: float = FPS

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.joints) / self.fps

    def usable(self, spans: ArrayLike) -> NDArray[np.bool_]:
        """(n, 2) seconds -> (n,): whether a span overlaps no rejected one."""
        spans = np.asarray(spans, np.float64).reshape(-1, 2)
        touch = (spans[:, None, 0] < self.rejected[None, :, 1]) & (spans[:, None, 1] > self.rejected[None, :, 0])
        return np.asarray(~touch.any(axis=1))


def clean(
    clip: PoseClip,
    *,
    name: str = "clip",
    min_confidence: float = 0.1,
    max_speed: float = 25.0,
    max_gap_s: float = 0.5,
    max_filled: float = 0.4,
    max_dropped: float = 0.3,
    min_seconds: float = 2.0,
    smoothing: str = "auto",
    normalise: bool = True,
    repair: bool = True,
) -> CleanClip:
    """Repair a clip, or refuse it.

    Args:
        name: of the clip in messages.
        min_confidence: joints below this confidence count as unseen.
        max_speed: of a joint, torsos/s (:func:`d2m.prepare.filters.drop_jumps`).
        max_gap_s: longer gaps are rejected (:func:`d2m.prepare.filters.long_gaps`).
        max_filled: share of the clip's time that may be rejected, and of joints that may be missing.
        max_dropped: share of the seen joints that may be implausible.
        min_seconds: the shortest clip.
        smoothing: "savgol", "one_euro" (both at the native rate), "none"; "auto" is savgol above 22 fps, and nothing at
            lower rates.
        normalise: 2-D to a torso of 50 pixels about the origin; 3-D is in cm already and never touched.
        repair: False keeps exchanged sides, jumps, impossible limbs and cuts, for motion in which they are genuine.
            Gaps are filled regardless.

    Raises:
        D2MError: names the clip and the reason: too short, no dancer, a joint never seen, implausible, too many gaps.
    """
    _check_smoothing(smoothing)
    raw = np.array(clip.joints, np.float64)
    if len(raw) / clip.fps < min_seconds:
        raise D2MError(
            f"{name}: too short: {len(raw) / clip.fps:.2f} s of motion, at least {min_seconds:g} s are needed"
        )
    raw[np.asarray(clip.confidence) < min_confidence] = np.nan
    raw = drop_broken_frames(raw)
    there = seen(raw)
    if not there.any():
        raise D2MError(f"{name}: no dancer visible; leave it out, or lower min_confidence")
    _check_joints(raw, name)
    joints = raw
    if repair:
        raw, _ = mend_sides(raw)
        joints = drop_jumps(raw, clip.fps, max_speed)
        joints = drop_broken_frames(drop_long_limbs(joints, clip.fps))
    known = seen(joints)
    dropped = 1.0 - known.sum() / there.sum()
    if dropped > max_dropped:
        raise D2MError(f"{name}: implausible: {dropped:.0%} of its joints leap or end impossible limbs; correct them")
    _check_joints(joints, name)
    cuts = scene_cuts(joints, clip.fps, max_speed) if repair else ()
    bad = np.zeros(len(joints), bool)
    for first, end in long_gaps(known, clip.fps, max_gap_s):
        bad[first:end] = True
    for cut in cuts:
        around = max(1, round(_AROUND_CUT_S * clip.fps))
        bad[max(0, cut - around) : cut + around] = True
    filled = 1.0 - known.mean()
    if bad.mean() > max_filled or filled > max_filled:
        share = max(bad.mean(), filled)
        raise D2MError(
            f"{name}: too many gaps: {share:.0%} of the dance is not seen; "
            f"raise max_filled above {max_filled:.0%} to allow it"
        )
    joints = fill_gaps(joints)
    if smoothing == "one_euro":
        joints = one_euro(joints, clip.fps, beta=0.05 * TORSO_PX / torso_length(joints))
    elif smoothing == "savgol" or (smoothing == "auto" and clip.fps >= _SMOOTH_FROM_FPS):
        joints = savitzky_golay(joints, clip.fps)
    joints, scale = to_fps(joints, clip.fps), 1.0
    if joints.shape[-1] == 2 and normalise:
        joints, scale = normalise_scale(joints)
    for first, end in frozen(clip.joints, clip.fps):
        bad[first:end] = True
    rejected = runs(bad).astype(np.float64) / clip.fps
    return CleanClip(
        joints.astype(np.float32), rejected, scale, float(filled), float(dropped), clip.genre, native_fps=clip.fps
    )


#: Option of :func:`clean` -> default.
OPTIONS = {n: p.default for n, p in signature(clean).parameters.items() if p.kind is p.KEYWORD_ONLY and n != "name"}


def check_options(options: Mapping[str, Any]) -> None:
    """Check that :func:`clean` has these options, once, before any recording is read.

    Raises:
        D2MError: an unknown option, or a value whose type differs from the default's.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise D2MError(f"clean.{name}: no such option; choose from {', '.join(OPTIONS)}")
        default = OPTIONS[name]
        if name == "smoothing":
            _check_smoothing(str(value))
        elif isinstance(default, bool) != isinstance(value, bool) or not isinstance(value, int | float):
            raise D2MError(f"clean.{name}={value}: give {'true or false' if isinstance(default, bool) else 'a number'}")


def _check_smoothing(smoothing: str) -> None:
    if smoothing not in SMOOTHINGS:
        raise D2MError(f"smoothing={smoothing}: choose from {', '.join(SMOOTHINGS)}")


def _check_joints(joints: NDArray[np.float64], name: str) -> None:
    """Raises: D2MError: a joint is seen in less than a twentieth of the frames, or there is no torso to measure by."""
    share = seen(joints).mean(axis=0)
    if share.min() < 0.05:
        raise D2MError(
            f"{name}: no complete dancer: {JOINTS[int(share.argmin())]} is hardly ever visible; leave it out"
        )
    if not torso_length(joints) > 0:
        raise D2MError(f"{name}: no dancer: neck and hips always coincide; correct the poses")
