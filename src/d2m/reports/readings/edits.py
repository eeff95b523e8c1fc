"""Effects of edits: of the music on z_dan, and of z_dan on the dance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import JOINTS
from d2m.draw import plots
from d2m.draw.plots import latent as figures
from d2m.metrics.motion import UNITS, common_scale, energy_map, measure_motion
from d2m.reports.readings.reading import Reading


def music_edits_reading(rows: Mapping[str, Sequence[Mapping[str, float]]], source: str, target: str) -> Reading:
    """Edits of songs of the source genre: edit -> a mapping per song with "along", "aside", "cosine"."""
    table = [
        {
            "edit": name,
            "along": float(np.mean([r["along"] for r in songs])),
            "aside": float(np.mean([r["aside"] for r in songs])),
            "cosine": float(np.mean([r["cosine"] for r in songs])),
            "songs": len(songs),
        }
        for name, songs in rows.items()
    ]
    return Reading(
        "Editing the music instead",
        f"How far z_dan moves from {source} to {target} when the song is edited and not the latent; noise held fixed.",
        {"source": source, "target": target, "edits": table},
        {"music_edits": (
            figures.music_edit_bars(rows, source=source, target=target),
            f"1 is the distance from the mean of {source} to the mean of {target}.",
        )},
        table, "Means over songs, in units of the distance between the two genres' means",
    )  # fmt: skip


def motion_reading(dances: Sequence[Mapping[str, NDArray[np.floating]]], source: str, target: str) -> Reading:
    """Dances to several songs, each as original, neutral and target (t, 14, 2) px with all noise shared.

    The scale is that of the originals and is shared by a song's three dances.
    """
    kinds = list(dances[0])
    maps = {k: [energy_map(d[k], common_scale([d["original"]])) for d in dances] for k in kinds}
    per_joint = {k: np.mean([m.mean(0) for m in maps[k]], axis=0) for k in kinds}
    rows = []
    for k in kinds:
        read = [measure_motion(d[k], common_scale([d["original"]])) for d in dances]
        means = {f: float(np.nanmean([r[f] for r in read])) for f in read[0]}
        rows.append({"dance": k, **means})
    energies = {k: np.array([m.mean() for m in maps[k]]) for k in kinds}
    higher = float((energies["target"] > energies["original"]).mean()) if "target" in energies else float("nan")
    return Reading(
        f"Reading the dances, {source} to {target}",
        f"{len(dances)} dances; the target has more kinetic energy than the original in {100 * higher:.0f}% of them.",
        {
            "dances": len(dances), "readings": rows, "share_higher": higher,
            "energy_per_joint": {k: dict(zip(JOINTS, map(float, v), strict=True)) for k, v in per_joint.items()},
        },
        {
            "energy_per_joint": (
                plots.kinetic_energy_bars(
                    per_joint, title=f"Mean kinetic energy per joint, {source} to {target}"
                ),
                "Joints in COCO/OpenPose order; the mean over frames and dances.",
            ),
            "energy_over_time": (
                plots.kinetic_energy_heatmap(
                    {k: m[0] for k, m in maps.items()},
                    title=f"Kinetic energy over time, {source} to {target}",
                ),
                "The first dance; all noise is shared between the rows.",
            ),
        },
        rows,
        f"Means over dances. {UNITS}",
    )  # fmt: skip
