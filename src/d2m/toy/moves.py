"""The move tables: key poses on the four beats of a bar, by genre.

A key gives the pose that is reached ON its beat; between beats the dancer eases from one to the next. Angles
are degrees; lengths are cm for a body of 170 cm. An arm is (elevation from hanging, azimuth: 0 sideways to 90
forward, elbow flexion, swivel: 0 bends the forearm forward or inward, 90 bends it upward). A foot is (outward
from the stance, forward, raised). Hips are (to the left, forward, lowered); torso is leaning (forward, to the
left) and shoulders turned left; head is (nodding, looking left).
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
    """One pose of the table; omitted parts are neutral."""

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
        Key((122, 18, 22, 50), (46, 15, 30, 30), hips=(-6, 0, 1), torso=(0, 8, 4), head=(-4, -12)),
        Key((92, 15, 36, 20), (80, 15, 34, 20), hips=(0, 0, 5), torso=(3, 0, 0)),
        Key((46, 15, 30, 30), (122, 18, 22, 50), hips=(6, 0, 1), torso=(0, -8, -4), head=(-4, 12)),
        Key((80, 15, 34, 20), (92, 15, 36, 20), hips=(0, 0, 5), torso=(3, 0, 0)),
    ),
    "rise and fall": (
        Key((30, 40, 35, 20), (30, 40, 35, 20), hips=(0, 0, 11), torso=(9, 0, 0), head=(14, 0)),
        Key((78, 45, 30, 40), (78, 45, 30, 40), hips=(0, 0, 4), torso=(2, 0, 0)),
        Key((140, 30, 24, 60), (140, 30, 24, 60), hips=(0, 1, 0), torso=(-6, 0, 0), head=(-16, 0)),
        Key((88, 8, 26, 30), (88, 8, 26, 30), hips=(0, 0, 5), torso=(2, 0, 0)),
    ),
    "reach": (
        Key((62, 60, 40, 40), (48, 0, 28, 20), left_foot=(3, 12, 0), hips=(2, 3, 4), torso=(3, 2, 4)),
        Key((112, 58, 12, 50), (64, -12, 18, 20),
            left_foot=(3, 12, 0), hips=(4, 8, 2), torso=(5, 4, 18), head=(-10, 8)),
        Key((86, 40, 34, 35), (70, 22, 28, 35), hips=(0, 2, 5), torso=(1, 0, 4)),
        Key((42, 35, 40, 20), (60, 32, 34, 30), hips=(-3, -1, 5), torso=(0, -4, -8)),
    ),
    "turning sweep": (
        Key((70, 8, 24, 30), (88, 72, 40, 25), torso=(0, 2, -22), yaw=-12, hips=(-6, 0, 1), head=(0, -14)),
        Key((92, 35, 26, 35), (84, 42, 30, 35), torso=(2, 0, 0), hips=(0, 0, 5)),
        Key((88, 72, 40, 25), (70, 8, 24, 30), torso=(0, -2, 22), yaw=12, hips=(6, 0, 1), head=(0, 14)),
        Key((64, 38, 32, 30), (72, 35, 28, 30), torso=(2, 0, 0), hips=(0, 0, 5)),
    ),
    "pendulum": (
        Key((56, 72, 40, 20), (104, 10, 18, 40),
            left_foot=(14, 0, 0), hips=(9, 0, 2), torso=(0, -6, 10), head=(-3, 14)),
        Key((32, 45, 34, 15), (58, 20, 30, 25), left_foot=(14, 0, 0), hips=(5, 0, 7), torso=(5, 0, 0)),
        Key((104, 10, 18, 40), (56, 72, 40, 20),
            left_foot=(14, 0, 0), hips=(-2, 0, 2), torso=(0, 6, -10), head=(-3, -14)),
        Key((58, 20, 30, 25), (32, 45, 34, 15), hips=(0, 0, 7), torso=(5, 0, 0)),
    ),
    "open and gather": (
        Key((58, 62, 58, 20), (58, 62, 58, 20), hips=(0, -2, 6), torso=(9, 0, 0), head=(15, 0)),
        Key((80, 40, 36, 30), (80, 40, 36, 30), hips=(0, 2, 3), torso=(1, 0, 0), right_foot=(2, 9, 0)),
        Key((104, 6, 14, 45), (104, 6, 14, 45),
            hips=(0, 6, 0), torso=(-8, 0, 0), head=(-14, 0), right_foot=(2, 9, 0)),
        Key((62, 30, 34, 25), (62, 30, 34, 25), hips=(0, 1, 4), torso=(2, 0, 0)),
    ),
    "crown": (
        Key((142, 25, 48, 85), (40, 55, 40, 10), hips=(-5, 0, 1), torso=(0, 7, -6), head=(-4, -10)),
        Key((112, 20, 34, 55), (84, 40, 34, 35), hips=(0, 0, 5), torso=(2, 0, 0)),
        Key((76, 15, 26, 30), (118, 30, 40, 70), hips=(4, 0, 2), torso=(0, -4, 6), head=(-4, 10)),
        Key((104, 25, 36, 55), (66, 45, 38, 30), hips=(0, 0, 5), torso=(2, 0, 0)),
    ),
}  # fmt: skip

GROOVE: dict[str, tuple[Key, ...]] = {
    "step touch": (
        Key((40, 55, 85, 20), (36, -15, 40, 0), left_foot=(22, 0, 0), hips=(12, 0, 4), torso=(4, -7, 12)),
        Key((62, 15, 60, 40), (18, 20, 70, 10),
            left_foot=(22, 0, 0), right_foot=(-18, 2, 0), hips=(20, 0, 1), torso=(2, -5, -10), head=(8, 10)),
        Key((36, -15, 40, 0), (40, 55, 85, 20), hips=(-12, 0, 4), torso=(4, 7, -12), right_foot=(22, 0, 0)),
        Key((18, 20, 70, 10), (62, 15, 60, 40),
            right_foot=(22, 0, 0), left_foot=(-18, 2, 0), hips=(-20, 0, 1), torso=(2, 5, 10), head=(8, -10)),
    ),
    "shoulder rock": (
        Key((52, 50, 85, 25), (20, 15, 85, 10),
            right_foot=(6, 8, 0), hips=(-3, 4, 7), torso=(9, -6, 26), head=(10, 6)),
        Key((20, 10, 60, 10), (44, 25, 80, 20), right_foot=(6, 8, 0), hips=(2, 0, 1), torso=(-2, 5, -18)),
        Key((20, 15, 85, 10), (66, 45, 80, 30), hips=(-6, -3, 7), torso=(8, 6, -26), head=(10, -6)),
        Key((48, 25, 80, 20), (20, 10, 60, 10), hips=(5, 0, 1), torso=(-2, -5, 18)),
    ),
    "arm wave": (
        Key((104, 12, 60, 85), (28, 15, 40, 10), hips=(-8, 0, 3), torso=(0, 9, -6), head=(0, -12)),
        Key((72, 12, 16, 40), (66, 12, 40, 40), hips=(0, 0, 6), torso=(4, 0, 8)),
        Key((28, 15, 40, 10), (104, 12, 60, 85), hips=(8, 0, 3), torso=(0, -9, 6), head=(0, 12)),
        Key((66, 12, 40, 40), (72, 12, 16, 40), hips=(0, 0, 6), torso=(4, 0, -8)),
    ),
    "forward back": (
        Key((58, 78, 55, 45), (32, -30, 35, 0), left_foot=(0, 26, 0), hips=(3, 14, 5), torso=(8, 0, 18)),
        Key((22, 10, 60, 10), (40, 20, 65, 20),
            right_foot=(0, 10, 0), left_foot=(0, 12, 0), hips=(0, 8, 1), torso=(0, 0, 0), head=(8, 0)),
        Key((32, -30, 35, 0), (58, 78, 55, 45), right_foot=(0, -22, 0), hips=(-3, -9, 5), torso=(4, 0, -18)),
        Key((40, 20, 65, 20), (22, 10, 60, 10), hips=(0, 0, 1), torso=(0, 0, 0), head=(8, 0)),
    ),
    "lean and snap": (
        Key((92, 40, 75, 75), (20, 5, 30, 0),
            right_foot=(18, 0, 0), hips=(-12, 0, 6), torso=(2, 13, 12), head=(0, -16)),
        Key((40, 45, 95, 35), (36, 20, 55, 10), right_foot=(18, 0, 0), hips=(-2, 0, 1), torso=(0, 0, 0)),
        Key((20, 5, 30, 0), (92, 40, 75, 75),
            right_foot=(18, 0, 0), hips=(6, 0, 6), torso=(2, -13, -12), head=(0, 16)),
        Key((36, 20, 55, 10), (40, 45, 95, 35), hips=(0, 0, 1), torso=(0, 0, 0)),
    ),
    "quarter turn": (
        Key((30, 25, 85, 10), (52, 55, 75, 25),
            left_foot=(8, 10, 0), hips=(3, 4, 5), yaw=22, torso=(5, 0, 16)),
        Key((68, 8, 34, 35), (68, 8, 34, 35), hips=(0, 0, 0), yaw=42, head=(6, 0)),
        Key((52, 55, 75, 25), (30, 25, 85, 10),
            right_foot=(8, 10, 0), hips=(-3, 4, 5), yaw=20, torso=(5, 0, -16)),
        Key((22, 15, 60, 10), (22, 15, 60, 10), hips=(0, 0, 0), yaw=0, head=(6, 0)),
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
        Key((140, 15, 20, 60), (140, 15, 20, 60),
            right_foot=(15, 0, 0), left_foot=(15, 0, 0), hips=(0, 0, 3)),
        Key((32, 25, 70, 20), (32, 25, 70, 20),
            right_foot=(-2, 0, 0), left_foot=(-2, 0, 0), hips=(0, 0, 6), torso=(6, 0, 0)),
        Key((140, 15, 20, 60), (140, 15, 20, 60),
            right_foot=(15, 0, 0), left_foot=(15, 0, 0), hips=(0, 0, 3)),
        Key((32, 25, 70, 20), (32, 25, 70, 20),
            right_foot=(-2, 0, 0), left_foot=(-2, 0, 0), hips=(0, 0, 6), torso=(6, 0, 0)),
    ),
    "front punch": (
        Key((78, 85, 12, 40), (30, 10, 115, 20), right_foot=(4, 10, 0), hips=(-2, 4, 6), torso=(6, 0, 22)),
        Key((30, 10, 115, 20), (30, 10, 115, 20), hips=(0, 0, 3), torso=(4, 0, 0)),
        Key((30, 10, 115, 20), (78, 85, 12, 40), left_foot=(4, 10, 0), hips=(2, 4, 6), torso=(6, 0, -22)),
        Key((30, 10, 115, 20), (30, 10, 115, 20), hips=(0, 0, 3), torso=(4, 0, 0)),
    ),
    "knee up": (
        Key((48, 30, 95, 30), (48, 30, 95, 30),
            right_foot=(0, 16, 34), hips=(5, 0, 1), torso=(10, 0, 0), head=(8, 0)),
        Key((130, 35, 35, 70), (130, 35, 35, 70), hips=(0, 0, 5), torso=(-3, 0, 0), head=(-6, 0)),
        Key((48, 30, 95, 30), (48, 30, 95, 30),
            left_foot=(0, 16, 34), hips=(-5, 0, 1), torso=(10, 0, 0), head=(8, 0)),
        Key((130, 35, 35, 70), (130, 35, 35, 70), hips=(0, 0, 5), torso=(-3, 0, 0), head=(-6, 0)),
    ),
    "side lunge": (
        Key((95, 5, 15, 30), (45, 40, 110, 20),
            right_foot=(24, 0, 0), hips=(-14, 0, 9), torso=(4, 8, 8), head=(0, -20)),
        Key((42, 35, 100, 20), (42, 35, 100, 20), hips=(0, 0, 2), torso=(3, 0, 0)),
        Key((45, 40, 110, 20), (95, 5, 15, 30),
            left_foot=(24, 0, 0), hips=(14, 0, 9), torso=(4, -8, -8), head=(0, 20)),
        Key((42, 35, 100, 20), (42, 35, 100, 20), hips=(0, 0, 2), torso=(3, 0, 0)),
    ),
    "overhead sway": (
        Key((152, 10, 20, 70), (120, 30, 35, 70),
            right_foot=(14, 0, 0), hips=(-10, 0, 5), torso=(0, -8, 0), travel=-6),
        Key((100, 30, 75, 80), (100, 30, 75, 80), hips=(0, 0, 3), left_foot=(0, 2, 12)),
        Key((120, 30, 35, 70), (152, 10, 20, 70),
            left_foot=(14, 0, 0), hips=(10, 0, 5), torso=(0, 8, 0), travel=6),
        Key((70, 30, 85, 60), (70, 30, 85, 60), hips=(0, 0, 3), right_foot=(0, 2, 12)),
    ),
    "run": (
        Key((50, 75, 90, 50), (32, -35, 80, 0),
            right_foot=(0, -8, 22), left_foot=(0, 4, 0), hips=(3, 0, 4), torso=(9, 0, 14)),
        Key((32, -35, 80, 0), (50, 75, 90, 50),
            left_foot=(0, -8, 22), right_foot=(0, 4, 0), hips=(-3, 0, 4), torso=(9, 0, -14)),
        Key((50, 75, 90, 50), (32, -35, 80, 0),
            right_foot=(0, -8, 22), left_foot=(0, 4, 0), hips=(3, 0, 4), torso=(9, 0, 14)),
        Key((32, -35, 80, 0), (50, 75, 90, 50),
            left_foot=(0, -8, 22), right_foot=(0, 4, 0), hips=(-3, 0, 4), torso=(9, 0, -14)),
    ),
}  # fmt: skip

#: Genre -> move -> key poses (4, 24).
MOVES: dict[str, dict[str, np.ndarray]] = {
    genre: {name: np.stack([key.row() for key in keys]) for name, keys in table.items()}
    for genre, table in (("flow", FLOW), ("groove", GROOVE), ("drive", DRIVE))
}
