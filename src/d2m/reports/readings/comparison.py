"""Comparison of latent edits at matched strength, with each other and with random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.draw.plots.edits import edit_effects
from d2m.edits.direction import Direction
from d2m.metrics.motion import UNITS, common_scale, measure_motion
from d2m.motion.kinematics import ENERGY_UNIT
from d2m.reports.readings.reading import Reading
from d2m.stats.nulls import permutation_p

Dances = Sequence[Mapping[str, NDArray[np.floating]]]


def matched_strength(direction: Direction, reference: Direction, z: NDArray[np.floating]) -> float:
    """The strength at which ``direction`` moves latents z (n, d) as far on average as ``reference`` at strength 1.

    Raises:
        D2MError: the direction does not move them at all.
    """
    x = np.asarray(z, np.float64)

    def length(d: Direction) -> float:
        return float(np.linalg.norm(np.broadcast_to(d.shift(x), x.shape), axis=1).mean())

    own = length(direction)
    if own <= 0:
        raise D2MError(f"{direction.name} does not move these latents, so no strength can match")
    return length(reference) / own


def comparison_reading(
    dances: Mapping[str, Dances],
    controls: Sequence[Dances],
    unedited_target: Sequence[NDArray[np.floating]],
    strengths: Mapping[str, float],
    source: str,
    target: str,
) -> Reading:
    """The effect of each edit on the same dances.

    Args:
        dances: edit -> dances to songs of the source genre, each with "original" and "target", and "neutral" if
            there is one, (t, 14, 2) px, all noise shared.
        controls: the same for each of several random directions of equal length.
        unedited_target: dances to songs of the target genre, unedited.
        strengths: edit -> the strength that was used.

    The p-value of an edit is (1 + b) / (1 + m), where b of the m random directions move the energy at least as far
    towards the target.
    """
    first = next(iter(dances.values()))
    before = [measure_motion(d["original"], common_scale([d["original"]])) for d in first]
    there = [measure_motion(p, common_scale([p])) for p in unedited_target]
    start, gap = float(np.mean([r["energy"] for r in before])), 0.0
    if there:
        gap = float(np.mean([r["energy"] for r in there])) - start
    sign = 1.0 if gap >= 0 else -1.0

    def after(group: Dances, kind: str = "target") -> list[dict[str, float]]:
        return [measure_motion(d[kind], common_scale([d["original"]])) for d in group if kind in d]

    null = [float(np.mean([r["energy"] for r in after(group)])) - start for group in controls]
    rows: list[dict[str, Any]] = []
    changes: dict[str, NDArray[np.float64]] = {}
    for name, group in dances.items():
        read = after(group)
        changes[name] = np.array([r["energy"] for r in read]) - np.array([r["energy"] for r in before])
        mean = float(changes[name].mean())
        neutral = [r["energy"] for r in after(group, "neutral")]
        rows.append({
            "edit": name, "strength": float(strengths[name]), "energy": start + mean, "change": mean,
            "neutral energy": float(np.mean(neutral)) if neutral else float("nan"),
            "of the gap": mean / gap if gap else float("nan"),
            "towards": int((sign * changes[name] > 0).sum()), "dances": len(read),
            "p": permutation_p(sign * mean, sign * np.array(null)) if null else float("nan"),
            **{k: float(np.nanmean([r[k] for r in read])) for k in read[0] if k != "energy"},
        })  # fmt: skip
    unedited = [
        {"edit": f"unedited {g}", "energy": float(np.mean([r["energy"] for r in read])), "dances": len(read)}
        | {k: float(np.nanmean([r[k] for r in read])) for k in read[0] if k != "energy"}
        for g, read in ((source, before), (target, there))
        if read
    ]
    best = max(rows, key=lambda r: sign * r["change"])
    text = (
        f"All edits move the latents as far as the mean shift does. Unedited, the kinetic energy of dances to "
        f"{target} minus that of dances to {source} is {gap:+.3g} {ENERGY_UNIT}; {rows[0]['edit']} changes it by "
        f"{rows[0]['change']:+.3g}, {best['edit']} goes furthest with {best['change']:+.3g}."
    )
    if null:
        text += f" {len(null)} random directions of the same length change it by {min(null):+.3g} to {max(null):+.3g}."
    return Reading(
        f"Other edits at matched strength, {source} to {target}",
        text,
        {"edits": rows, "unedited": unedited, "gap": gap, "random_changes": null},
        {"edit_effects": (
            edit_effects(changes, null, gap, source=source, target=target),
            f"A full success of the edit alone would reach the dashed line; p compares with {len(null)} random "
            "directions.",
        )},
        [*rows, *unedited],
        f"{UNITS}; change: of the energy; "
        "neutral energy: of the same edit's neutral dance; towards: dances that moved towards the target; p: (1 + "
        "random directions that go as far) / (1 + all random directions)",
    )  # fmt: skip
