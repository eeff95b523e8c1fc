"""The move tables: key poses on the four beats of a bar, by genre.

A key gives the pose that is reached ON its beat; between beats the dancer eases from one to the next. Angles are
degrees; lengths are cm for a body of 170 cm. An arm is (elevation from hanging, azimuth: 0 sideways to 90 forward,
elbow flexion, swivel: 0 bends the forearm forward or inward, 90 bends it upward). A foot is (outward from the
stance, forward, raised). Hips are (to the left, forward, lowered); torso (forward, to the left, turned left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Arm = tuple[float, float, float, float]
Triple = tuple[float, float, float]

#: Columns of a key as a row of numbers; see `Key.row`.
ROW = 24
RIGHT_ARM, LEFT_ARM = slice(0, 4), slice(4, 8)
RIGHT_FOOT, LEFT_FOOT = slice(8, 11), slice(11, 14)
HIPS, TORSO, HEAD = slice(14, 17), slice(17, 20), slice(20, 22)
YAW = 22
TRAVEL = 23


@dataclass(frozen=True)
class Key:
    """One pose of the table; what is left out is neutral."""

    right: Arm
    left: Arm
    right_foot: Triple = (0, 0, 0)
    left_foot: Triple = (0, 0, 0)
    hips: Triple = (0, 0, 0)
    torso: Triple = (0, 0, 0)
    head: tuple[float, float] = (0, 0)
    yaw: float = 0
    travel: float = 0  # feet and hips together to the left

    def row(self) -> np.ndarray:
        """The key as (24,) numbers."""
        parts = (
            self.right, self.left, self.right_foot, self.left_foot, self.hips, self.torso, self.head,
            (self.yaw, self.travel),
        )  # fmt: skip
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def mirrored(rows: np.ndarray) -> np.ndarray:
    """Rows (..., 24) with left and right exchanged."""
    out = rows.copy()
    out[..., RIGHT_ARM], out[..., LEFT_ARM] = rows[..., LEFT_ARM], rows[..., RIGHT_ARM]
    out[..., RIGHT_FOOT], out[..., LEFT_FOOT] = rows[..., LEFT_FOOT], rows[..., RIGHT_FOOT]
    for column in (HIPS.start, TORSO.start + 1, TORSO.start + 2, HEAD.start + 1, YAW, TRAVEL):
        out[..., column] *= -1
    return out


FLOW: dict[str, tuple[Key, ...]] = {
    "wide wave": (
        Key((112, 15, 20, 45), (62, 15, 25, 45), hips=(-5, 0, 0), torso=(0, 7, 0), head=(-4, -10)),
        Key((92, 15, 30, 25), (84, 15, 30, 25), hips=(0, 0, 2)),
        Key((62, 15, 25, 45), (112, 15, 20, 45), hips=(5, 0, 0), torso=(0, -7, 0), head=(-4, 10)),
        Key((84, 15, 30, 25), (92, 15, 30, 25), hips=(0, 0, 2)),
    ),
    "rise and fall": (
        Key((48, 30, 30, 30), (48, 30, 30, 30), hips=(0, 0, 7), torso=(5, 0, 0), head=(10, 0)),
        Key((84, 30, 28, 40), (84, 30, 28, 40), hips=(0, 0, 3)),
        Key((122, 30, 22, 50), (122, 30, 22, 50), hips=(0, 0, 0), torso=(-5, 0, 0), head=(-12, 0)),
        Key((84, 30, 30, 30), (84, 30, 30, 30), hips=(0, 0, 4)),
    ),
    "reach": (
        Key((70, 60, 30, 40), (58, 5, 25, 30), left_foot=(2, 6, 0), hips=(2, 2, 2), torso=(2, 2, 4)),
        Key((102, 55, 15, 50), (70, -5, 20, 30), left_foot=(2, 6, 0), hips=(4, 4, 1), torso=(4, 4, 14), head=(-8, 6)),
        Key((78, 45, 30, 35), (76, 20, 25, 35), hips=(0, 0, 3), torso=(1, 0, 4)),
        Key((52, 40, 35, 30), (62, 30, 30, 30), hips=(-2, 0, 3), torso=(0, -3, -6)),
    ),
    "turning sweep": (
        Key((82, 20, 22, 30), (82, 60, 30, 30), torso=(0, 0, -14), yaw=-10, hips=(-4, 0, 1)),
        Key((90, 35, 24, 35), (90, 40, 26, 35), torso=(0, 0, 0), hips=(0, 0, 3)),
        Key((82, 60, 30, 30), (82, 20, 22, 30), torso=(0, 0, 14), yaw=10, hips=(4, 0, 1)),
        Key((72, 38, 28, 30), (72, 38, 28, 30), torso=(0, 0, 2), hips=(0, 0, 3)),
    ),
    "side glide": (
        Key((76, 20, 25, 35), (96, 15, 20, 40), left_foot=(10, 0, 0), hips=(2, 0, 3), torso=(0, -3, 0)),
        Key((64, 25, 28, 30), (106, 15, 18, 45), left_foot=(10, 0, 0), hips=(10, 0, 1), torso=(0, -8, 0), head=(-3, 12)),
        Key((86, 20, 25, 35), (84, 20, 25, 35), hips=(4, 0, 3), torso=(0, -2, 0)),
        Key((96, 15, 20, 40), (74, 20, 25, 35), hips=(-3, 0, 1), torso=(0, 4, 0), head=(0, -6)),
    ),
    "open and gather": (
        Key((70, 65, 55, 25), (70, 65, 55, 25), hips=(0, -1, 3), torso=(7, 0, 0), head=(12, 0)),
        Key((80, 42, 35, 30), (80, 42, 35, 30), hips=(0, 1, 1), torso=(1, 0, 0)),
        Key((94, 12, 15, 40), (94, 12, 15, 40), hips=(0, 3, 0), torso=(-6, 0, 0), head=(-10, 0)),
        Key((82, 40, 38, 30), (82, 40, 38, 30), hips=(0, 1, 2), torso=(0, 0, 0)),
    ),
}  # fmt: skip

GROOVE: dict[str, tuple[Key, ...]] = {
    "step touch": (
        Key((30, 30, 75, 10), (38, 0, 45, 0), left_foot=(14, 0, 0), hips=(8, 0, 3), torso=(3, -5, 6)),
        Key((45, 40, 95, 15), (20, 20, 60, 10), left_foot=(14, 0, 0), right_foot=(-10, 2, 0), hips=(14, 0, 1), torso=(2, -4, -6), head=(6, 8)),
        Key((38, 0, 45, 0), (30, 30, 75, 10), hips=(-8, 0, 3), torso=(3, 5, -6), right_foot=(14, 0, 0)),
        Key((20, 20, 60, 10), (45, 40, 95, 15), right_foot=(14, 0, 0), left_foot=(-10, 2, 0), hips=(-14, 0, 1), torso=(2, 4, 6), head=(6, -8)),
    ),
    "shoulder rock": (
        Key((32, 35, 85, 10), (18, 25, 80, 10), hips=(5, 0, 4), torso=(6, -4, 15), head=(8, 4)),
        Key((18, 20, 65, 10), (30, 30, 85, 10), hips=(-3, 0, 1), torso=(0, 4, -10)),
        Key((22, 25, 80, 10), (48, 35, 85, 10), hips=(-5, 0, 4), torso=(6, 4, -15), head=(8, -4)),
        Key((40, 30, 85, 10), (18, 20, 65, 10), hips=(3, 0, 1), torso=(0, -4, 10)),
    ),
    "arm wave": (
        Key((88, 10, 45, 80), (40, 15, 40, 20), hips=(-4, 0, 2), torso=(0, 5, 0)),
        Key((66, 15, 20, 40), (58, 15, 25, 40), hips=(-2, 0, 3), torso=(2, 0, 6)),
        Key((40, 15, 40, 20), (88, 10, 45, 80), hips=(4, 0, 2), torso=(0, -5, 0), head=(0, 8)),
        Key((58, 15, 25, 40), (66, 15, 20, 40), hips=(2, 0, 3), torso=(2, 0, -6)),
    ),
    "forward back": (
        Key((40, 70, 60, 40), (25, -15, 35, 0), left_foot=(0, 18, 0), hips=(2, 9, 3), torso=(6, 0, 12)),
        Key((22, 10, 50, 10), (26, 20, 55, 10), hips=(0, 0, 1), torso=(0, 0, 0), head=(5, 0)),
        Key((25, -15, 35, 0), (40, 70, 60, 40), left_foot=(0, -14, 0), hips=(1, -6, 3), torso=(3, 0, -12)),
        Key((26, 20, 55, 10), (22, 10, 50, 10), hips=(0, 0, 1), torso=(0, 0, 0), head=(5, 0)),
    ),
    "lean and snap": (
        Key((72, 40, 70, 70), (22, 5, 30, 0), right_foot=(10, 0, 0), hips=(-7, 0, 4), torso=(2, 10, 8), head=(0, -12)),
        Key((45, 40, 80, 40), (32, 20, 45, 10), right_foot=(10, 0, 0), hips=(-2, 0, 1), torso=(0, 2, 2)),
        Key((22, 5, 30, 0), (72, 40, 70, 70), right_foot=(10, 0, 0), hips=(4, 0, 4), torso=(2, -10, -8), head=(0, 12)),
        Key((32, 20, 45, 10), (45, 40, 80, 40), hips=(0, 0, 1), torso=(0, 0, 0)),
    ),
    "quarter turn": (
        Key((35, 20, 70, 10), (35, 20, 70, 10), left_foot=(6, 6, 0), hips=(3, 2, 3), yaw=18, torso=(3, 0, 10)),
        Key((52, 15, 40, 20), (52, 15, 40, 20), hips=(0, 0, 1), yaw=34, head=(5, 0)),
        Key((35, 30, 80, 10), (35, 20, 70, 10), right_foot=(6, 6, 0), hips=(-3, 2, 3), yaw=16, torso=(3, 0, -10)),
        Key((20, 20, 60, 10), (20, 20, 60, 10), hips=(0, 0, 1), yaw=0, head=(5, 0)),
    ),
}  # fmt: skip

DRIVE: dict[str, tuple[Key, ...]] = {
    "punch up": (
        Key((150, 25, 20, 70), (35, 40, 105, 20), right_foot=(10, 0, 0), hips=(-7, 0, 5), torso=(0, 6, 10)),
        Key((40, 35, 105, 20), (40, 35, 105, 20), hips=(0, 0, 2), torso=(4, 0, 0), head=(6, 0)),
        Key((35, 40, 105, 20), (150, 25, 20, 70), left_foot=(10, 0, 0), hips=(7, 0, 5), torso=(0, -6, -10)),
        Key((40, 35, 105, 20), (40, 35, 105, 20), hips=(0, 0, 2), torso=(4, 0, 0), head=(6, 0)),
    ),
    "jack": (
        Key((140, 15, 20, 60), (140, 15, 20, 60), right_foot=(15, 0, 0), left_foot=(15, 0, 0), hips=(0, 0, 3)),
        Key((32, 25, 70, 20), (32, 25, 70, 20), right_foot=(-2, 0, 0), left_foot=(-2, 0, 0), hips=(0, 0, 6), torso=(6, 0, 0)),
        Key((140, 15, 20, 60), (140, 15, 20, 60), right_foot=(15, 0, 0), left_foot=(15, 0, 0), hips=(0, 0, 3)),
        Key((32, 25, 70, 20), (32, 25, 70, 20), right_foot=(-2, 0, 0), left_foot=(-2, 0, 0), hips=(0, 0, 6), torso=(6, 0, 0)),
    ),
    "front punch": (
        Key((78, 85, 12, 40), (30, 10, 115, 20), right_foot=(4, 10, 0), hips=(-2, 4, 6), torso=(6, 0, 22)),
        Key((30, 10, 115, 20), (30, 10, 115, 20), hips=(0, 0, 3), torso=(4, 0, 0)),
        Key((30, 10, 115, 20), (78, 85, 12, 40), left_foot=(4, 10, 0), hips=(2, 4, 6), torso=(6, 0, -22)),
        Key((30, 10, 115, 20), (30, 10, 115, 20), hips=(0, 0, 3), torso=(4, 0, 0)),
    ),
    "knee up": (
        Key((48, 30, 95, 30), (48, 30, 95, 30), right_foot=(0, 16, 34), hips=(5, 0, 1), torso=(10, 0, 0), head=(8, 0)),
        Key((130, 35, 35, 70), (130, 35, 35, 70), hips=(0, 0, 5), torso=(-3, 0, 0), head=(-6, 0)),
        Key((48, 30, 95, 30), (48, 30, 95, 30), left_foot=(0, 16, 34), hips=(-5, 0, 1), torso=(10, 0, 0), head=(8, 0)),
        Key((130, 35, 35, 70), (130, 35, 35, 70), hips=(0, 0, 5), torso=(-3, 0, 0), head=(-6, 0)),
    ),
    "side lunge": (
        Key((95, 5, 15, 30), (45, 40, 110, 20), right_foot=(24, 0, 0), hips=(-14, 0, 9), torso=(4, 8, 8), head=(0, -20)),
        Key((42, 35, 100, 20), (42, 35, 100, 20), hips=(0, 0, 2), torso=(3, 0, 0)),
        Key((45, 40, 110, 20), (95, 5, 15, 30), left_foot=(24, 0, 0), hips=(14, 0, 9), torso=(4, -8, -8), head=(0, 20)),
        Key((42, 35, 100, 20), (42, 35, 100, 20), hips=(0, 0, 2), torso=(3, 0, 0)),
    ),
    "overhead sway": (
        Key((152, 10, 20, 70), (120, 30, 35, 70), right_foot=(14, 0, 0), hips=(-10, 0, 5), torso=(0, -8, 0), travel=-6),
        Key((100, 30, 75, 80), (100, 30, 75, 80), hips=(0, 0, 3), left_foot=(0, 2, 12)),
        Key((120, 30, 35, 70), (152, 10, 20, 70), left_foot=(14, 0, 0), hips=(10, 0, 5), torso=(0, 8, 0), travel=6),
        Key((70, 30, 85, 60), (70, 30, 85, 60), hips=(0, 0, 3), right_foot=(0, 2, 12)),
    ),
    "run": (
        Key((50, 75, 90, 50), (32, -35, 80, 0), right_foot=(0, -8, 22), left_foot=(0, 4, 0), hips=(3, 0, 4), torso=(9, 0, 14)),
        Key((32, -35, 80, 0), (50, 75, 90, 50), left_foot=(0, -8, 22), right_foot=(0, 4, 0), hips=(-3, 0, 4), torso=(9, 0, -14)),
        Key((50, 75, 90, 50), (32, -35, 80, 0), right_foot=(0, -8, 22), left_foot=(0, 4, 0), hips=(3, 0, 4), torso=(9, 0, 14)),
        Key((32, -35, 80, 0), (50, 75, 90, 50), left_foot=(0, -8, 22), right_foot=(0, 4, 0), hips=(-3, 0, 4), torso=(9, 0, -14)),
    ),
}  # fmt: skip

#: Genre -> move -> key poses (4, 24).
MOVES: dict[str, dict[str, np.ndarray]] = {
    genre: {name: np.stack([key.row() for key in keys]) for name, keys in table.items()}
    for genre, table in (("flow", FLOW), ("groove", GROOVE), ("drive", DRIVE))
}
