"""Detects joints with exchanged names by how they lie and move, in 3-D and in pictures.

The line from the right to the left shoulder points mostly where that between the hips does, the elbows' mostly where
the shoulders' does, and so on, in every view: limbs with exchanged sides give lines that point opposite ways. About its
shoulder a wrist moves farther than its elbow. What real dances reach: docs/adr/0059.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import JOINTS

Floats = NDArray[np.float64]

#: Pairs of joints whose lines are compared.
_NEIGHBOURS = (
    ("shoulder", "hip"), ("elbow", "shoulder"), ("wrist", "elbow"), ("knee", "hip"), ("ankle", "knee"),
)  # fmt: skip
_LEGS = frozenset((("knee", "hip"), ("ankle", "knee")))
#: Mean cosine below which the lines point opposite ways. Legs cross in dances: theirs count only in longer recordings.
_OPPOSITE, _OPPOSITE_LEGS, _LONG_S = -0.4, -0.5, 10.0
_FEWEST = 8
#: A wrist moves at least this many times as far as its elbow, within the second number of seconds.
_WRIST_OF_ELBOW, _MOVES_S = 0.9, 0.2


def find_crossed(joints: Floats, seconds: float) -> str | None:
    """Name the joints whose sides are exchanged, or None.

    Args:
        joints: (t, 14, 2 or 3) of a recording, or of every k-th frame of it, NaN if unseen.
        seconds: its length.
    """
    lines = {
        part: joints[:, JOINTS.index(f"left_{part}")] - joints[:, JOINTS.index(f"right_{part}")]
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    }
    opposite = {
        pair for pair in _NEIGHBOURS
        if (pair not in _LEGS or seconds >= _LONG_S)
        and _cosine(lines[pair[0]], lines[pair[1]]) < (_OPPOSITE_LEGS if pair in _LEGS else _OPPOSITE)
    }  # fmt: skip
    for outer, part, inner in (("elbow", "shoulder", "hip"), ("wrist", "elbow", "shoulder"), ("ankle", "knee", "hip")):
        if {(outer, part), (part, inner)} <= opposite:
            return f"right_{part} and left_{part}"
    if {("shoulder", "hip"), ("knee", "hip")} <= opposite:
        return "right_hip and left_hip"
    for pair, names in (
        (("shoulder", "hip"), "right and left arms, or right and left legs,"),
        (("elbow", "shoulder"), "right and left elbows and wrists"),
        (("wrist", "elbow"), "right_wrist and left_wrist"),
        (("knee", "hip"), "right and left knees and ankles"),
        (("ankle", "knee"), "right_ankle and left_ankle"),
    ):
        if pair in opposite:
            return names
    return None


def find_slow_wrist(joints: Floats, fps: float) -> str | None:
    """Name elbows and wrists that are exchanged, or None; None if the recording is shorter than 10 s.

    Args:
        joints: (t, 14, 2 or 3), all frames, NaN if unseen.
    """
    if len(joints) < _LONG_S * fps:
        return None
    step = max(1, round(_MOVES_S * fps))
    slow: list[str] = []
    for side in ("right", "left"):
        shoulder, elbow, wrist = (joints[:, JOINTS.index(f"{side}_{part}")] for part in ("shoulder", "elbow", "wrist"))
        moves = [((end[step:] - end[:-step]) ** 2).sum(axis=1) for end in (elbow - shoulder, wrist - shoulder)]
        seen = np.isfinite(moves[0]) & np.isfinite(moves[1])
        of_elbow, of_wrist = (float(move[seen].sum()) for move in moves)
        if seen.mean() > 0.5 and of_wrist < _WRIST_OF_ELBOW**2 * of_elbow:
            slow.append(f"{side}_elbow and {side}_wrist")
    return ", ".join(slow) or None


def _cosine(one: Floats, other: Floats) -> float:
    """(t, c) each -> the mean cosine of their angle, weighted by their lengths; 0 if too few frames are seen to
    tell."""
    seen = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    size = float(np.sqrt((one[seen] ** 2).sum() * (other[seen] ** 2).sum()))
    return float((one[seen] * other[seen]).sum()) / size if seen.sum() >= _FEWEST and size > 0 else 0.0
