"""The orders in which formats list a body's points, and a check that points form a body in the stated order.

The check compares each limb's share of the total limb length with that of 71 dancers (motion capture, and 2-D views of
it from eight sides). A limb's length is its 80th percentile in 2-D, where it is foreshortened, and its median in 3-D.
The mean absolute logarithm of the ratios was at most 0.27 in real recordings; for points read in a wrong order it is
0.31 to 0.9 (docs/adr/0059).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LIMBS

Place = int | tuple[int, int]

_COCO17: tuple[Place, ...] = (0, (5, 6), 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15)
_SMPL: tuple[Place, ...] = (15, 12, 17, 19, 21, 16, 18, 20, 2, 5, 8, 1, 4, 7)
#: Order -> its number of points, and the indices of our 14 joints among them; a pair stands for a midpoint.
ORDERS: dict[str, tuple[int, tuple[Place, ...]]] = {
    "coco17": (17, _COCO17),  # Lin et al., "Microsoft COCO", ECCV 2014
    "h36m": (17, (9, 8, 14, 15, 16, 11, 12, 13, 1, 2, 3, 4, 5, 6)),  # Human3.6M as VideoPose3D and MotionBERT have it
    "coco18": (18, tuple(range(14))),  # OpenPose's COCO model
    "coco17_neck": (18, (0, 17, *_COCO17[2:])),
    "body25": (25, (*range(8), *range(9, 15))),  # OpenPose
    "body25b": (25, (0, 17, *_COCO17[2:])),  # OpenPose's train repository: COCO-17, upper neck, head top, feet
    "halpe26": (26, (0, 18, *_COCO17[2:])),  # AlphaPose: COCO-17, head top, neck, hip, feet
    "halpe136": (136, (0, 18, *_COCO17[2:])),  # its first 26
    "coco133": (133, _COCO17),  # COCO-WholeBody, after its first 17
    "blazepose": (33, (0, (11, 12), 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27)),  # MediaPipe
    "smpl22": (22, _SMPL),  # body joints of SMPL, SMPL-X; the head's joint stands for the nose
    "smpl24": (24, _SMPL),
    "smplh52": (52, _SMPL),  # its first 22 are smpl22's
    "smplx55": (55, _SMPL),
    "mpii16": (16, ((8, 9), 7, 12, 11, 10, 13, 14, 15, 2, 1, 0, 3, 4, 5)),  # Andriluka et al., CVPR 2014
    "panoptic19": (19, (1, 0, 9, 10, 11, 3, 4, 5, 12, 13, 14, 6, 7, 8)),  # Joo et al., "Panoptic Studio", ICCV 2015
    "kinect25": (25, (3, 20, 8, 9, 10, 4, 5, 6, 16, 17, 18, 12, 13, 14)),  # Kinect 2, NTU RGB+D; the head for the nose
    "d2m": (14, tuple(range(14))),  # d2m.core.skeleton.JOINTS
    "lsp14": (14, (13, 12, 8, 7, 6, 9, 10, 11, 2, 1, 0, 3, 4, 5)),  # Leeds Sports Pose; the head's top for the nose
}  # fmt: skip

#: Every limb's share of the limbs' total length.
SHARES_3D = np.array(
    [0.0429, 0.0322, 0.0710, 0.0486, 0.0344, 0.0745, 0.0312, 0.1257, 0.1232, 0.0892, 0.1261, 0.1170, 0.0861]
)
SHARES_2D = np.array(
    [0.0424, 0.0305, 0.0685, 0.0483, 0.0322, 0.0702, 0.0298, 0.1277, 0.1259, 0.0892, 0.1278, 0.1210, 0.0850]
)
#: Below the first, points form a body; above it, another order that scores lower by the factor ``_NEARER`` is the right
#: one; above the third, they form no body.
_A_BODY, _NEARER, _NO_BODY = 0.28, 0.7, 0.5
#: Mean |log| of left over right limb lengths: at most 0.16 in real recordings, at least 0.37 for reversed points.
_LOPSIDED = 0.26
_FEWEST = 8
#: Indices in LIMBS of the right side's limbs and of the left side's.
SIDES = [
    (i, k) for i, (a, b, _) in enumerate(LIMBS) for k, (c, d, _) in enumerate(LIMBS)
    if JOINTS[b].startswith("right_") and JOINTS[d] == JOINTS[b].replace("right_", "left_")
    and JOINTS[c] == JOINTS[a].replace("right_", "left_")
]  # fmt: skip


def of_count(points: int) -> list[str]:
    """The orders with this number of points; the default is first."""
    return [name for name, (count, _) in ORDERS.items() if count == points]


def reorder(points: NDArray[np.floating], order: str) -> NDArray[np.float32]:
    """Points in a known order -> our 14; a midpoint has the lower confidence of its two points.

    Args:
        points: (..., n, c); the last of the c numbers is the confidence.

    Returns:
        (..., 14, c).
    """
    points = np.asarray(points, np.float32)
    places = ORDERS[order][1]
    out = np.array(points[..., [p if isinstance(p, int) else p[0] for p in places], :])
    for joint, place in enumerate(places):
        if not isinstance(place, int):
            a, b = (points[..., i, :] for i in place)
            out[..., joint, :] = 0.5 * (a + b)
            out[..., joint, -1] = np.minimum(a[..., -1], b[..., -1])
    return out


def order_for(points: int, order: str | None, where: str) -> str:
    """The stated order, or the default for this number of points.

    Raises:
        D2MError: there is none, or the stated one has another number of points.
    """
    known = of_count(points)
    if order is None:
        if not known:
            counts = ", ".join(str(n) for n in sorted({n for n, _ in ORDERS.values()}))
            raise D2MError(f"{where}: {points} points per body match no known order; give {counts}, or name the joints")
        return known[0]
    if order not in known:
        raise D2MError(
            f"{where}: order={order} has {ORDERS[order][0]} points, but the file has {points}; "
            + (f"set order={' or order='.join(known)}" if known else "give the joints by name in an npz")
        )
    return order


def strangeness(joints: NDArray[np.floating]) -> float:
    """How much the limbs of bodies (m, 14, 2 or 3) differ from a human's; NaN if too few joints are seen to tell."""
    return _measure(joints)[0]


def _measure(joints: NDArray[np.floating]) -> tuple[float, float]:
    """:func:`strangeness`, and how much left limbs differ from right ones."""
    x = np.asarray(joints, np.float64)
    ends = np.array([(a, b) for a, b, _ in LIMBS])
    lengths = np.linalg.norm(x[:, ends[:, 0]] - x[:, ends[:, 1]], axis=-1)
    if (np.isfinite(lengths).sum(axis=0) < _FEWEST).any():
        return float("nan"), float("nan")
    flat = x.shape[-1] == 2
    usual = np.nanpercentile(lengths, 80 if flat else 50, axis=0)
    if not usual.sum() > 0:
        return float("nan"), float("nan")
    shares = np.maximum(usual / usual.sum(), 1e-6)
    odd = np.abs(np.log(shares / (SHARES_2D if flat else SHARES_3D)))
    uneven = np.mean([abs(np.log(shares[right] / shares[left])) for right, left in SIDES])
    return float(np.minimum(odd, 1.5).mean()), float(uneven)


def check_order(points: NDArray[np.floating], order: str, where: str, sure: NDArray[np.floating] | None = None) -> None:
    """Refuse points that form no body in their order, or a much better one in another order with as many points.

    Args:
        points: (m, n, 2 or 3): bodies of any frames, NaN if unseen.
        sure: (m, n) confidences; those below 0.1 are unseen.

    Raises:
        D2MError: names the right order, if one is known.
    """
    every = max(1, len(points) // 1000)
    x = np.array(points[::every], np.float64)
    if sure is not None:
        x[np.asarray(sure)[::every] < 0.1] = np.nan
    stated, apart = _score(x, order)
    if not stated > _A_BODY:
        return
    known = {name: _score(x, name) for name in of_count(x.shape[1]) if name != order}
    bodies = {name: strange for name, (strange, uneven) in known.items() if not _is_no_body(strange, uneven)}
    best = min(bodies, key=lambda name: bodies[name] if bodies[name] == bodies[name] else np.inf, default=None)
    if best is not None and bodies[best] < _NEARER * stated:
        raise D2MError(f"{where}: its points form a body not in the order {order} but in {best}; set order={best}")
    if _is_no_body(stated, apart):
        raise D2MError(
            f"{where}: its points form no body in the order {order}; "
            "write them as an npz that names its joints (joint_names)"
        )


def is_body(joints: NDArray[np.floating]) -> bool:
    """Whether our 14 joints (m, 14, 2 or 3), NaN if unseen, may be a human's; True if too few are seen to tell."""
    return not _is_no_body(*_measure(joints))


def _is_no_body(strange: float, apart: float) -> bool:
    return strange > _NO_BODY or (strange > _A_BODY and apart > _LOPSIDED)


def _score(x: NDArray[np.float64], order: str) -> tuple[float, float]:
    certain = np.ones((*x.shape[:2], 1))
    return _measure(reorder(np.concatenate([x, certain], axis=-1), order)[..., :-1])
