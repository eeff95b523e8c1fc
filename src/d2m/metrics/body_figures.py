"""Figures about the body: bones, jerk, energy, frozen frames, seams and the edge of the stage, against real dances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from d2m.core.skeleton import UNIT_FRAMES
from d2m.metrics.body import (
    BONES,
    ESCAPE_MARGIN,
    FROZEN_SPEED,
    Canvas,
    bone_drift,
    bone_lengths,
    canvas_escape,
    frozen_share,
    range_errors,
)
from d2m.metrics.figure import NAN, Better, DanceToSong, Figure, Floats, Ints, SongDraws, Songs, unmeasured
from d2m.metrics.motion import boundary_jump_ratio, common_scale, mean_energy, measure_motion
from d2m.stats.percentiles import percentiles

Measure = Callable[[DanceToSong, float], float]
RATIO = "ratio to real"


def scales(dances: Songs, real: Songs) -> dict[str, float]:
    """Song -> px per torso length: that of the real dances to the song if there are any, else that of the dances."""
    return {song: common_scale([d.poses for d in real.get(song, mine)]) for song, mine in dances.items()}


def _per_song(songs: Songs, scale: dict[str, float], measure: Measure) -> Floats:
    """(s,) mean over the dances to a song; NaN if it is undefined for all of them."""
    out = []
    for song, mine in songs.items():
        values = np.array([measure(d, scale[song]) for d in mine])
        out.append(float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else NAN)
    return np.array(out, np.float64)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def body_figures(dances: Songs, real: Songs, draws: SongDraws) -> dict[str, Figure]:
    """All figures about the body. Songs have equal weight; ratios are of means over songs, real dances below."""
    mine, theirs = scales(dances, real), scales(real, real)

    def mean_of(measure: Measure, unit: str, better: Better, note: str = "") -> Figure:
        values = _per_song(dances, mine, measure)
        n = int(np.isfinite(values).sum())
        if not n:
            return unmeasured(unit, better, note or "undefined for every dance")
        figure = Figure(_mean(values), n, unit, better, note=note)
        return figure.with_interval(draws.interval(lambda a, _: _mean(values[a])))

    def ratio_of(measure: Measure) -> Figure:
        a, b = _per_song(dances, mine, measure), _per_song(real, theirs, measure)

        def ratio(i: Ints, j: Ints) -> float:
            below = _mean(b[j])
            return _mean(a[i]) / below if below > 0 else NAN

        value = ratio(np.arange(len(a)), np.arange(len(b)))
        if not np.isfinite(value):
            return unmeasured(RATIO, "real", "the real dances do not move")
        return Figure(value, len(a), RATIO, "real", note="1 is real").with_interval(draws.interval(ratio))

    canvas = _canvas(real, theirs)
    no_seams = "no dances as decoded, of two units or more, were given"
    return {
        "jerk_ratio": ratio_of(lambda d, s: measure_motion(d.poses, s, d.fps)["jerk"]),
        "energy_ratio": ratio_of(energy),
        "frozen_share": mean_of(
            lambda d, s: frozen_share(d.poses, d.fps, s), "", "real", f"mean joint speed below {FROZEN_SPEED} torso/s"
        ),
        "bone_drift": mean_of(lambda d, s: bone_drift(d.poses), "", "real", "variation of projected lengths"),
        **_range_figures(dances, mine, real, theirs),
        "boundary_jump": mean_of(
            seam, "ratio to steps within units", "lower",
            "as decoded; 1 is without seams" if any(_decoded(m) for m in dances.values()) else no_seams,
        ),
        "canvas_escape": mean_of(
            lambda d, s: canvas_escape(d.poses, canvas, s), "", "lower",
            f"a joint over {ESCAPE_MARGIN} torso beyond the real 0.1 to 99.9 % box",
        ),
    }  # fmt: skip


def _decoded(dances: Sequence[DanceToSong]) -> bool:
    return any(d.unwarped is not None for d in dances)


def energy(dance: DanceToSong, scale: float) -> float:
    """Mean kinetic energy, torso lengths^2/s^2, at ``scale`` px per torso length."""
    return mean_energy(dance.poses, scale, dance.fps)


def seam(dance: DanceToSong, scale: float = 1.0) -> float:
    """:func:`d2m.metrics.motion.boundary_jump_ratio` as decoded; nan without two units, or if nothing moves."""
    decoded = dance.unwarped
    if decoded is None or len(decoded) <= UNIT_FRAMES or not np.diff(decoded, axis=0).any():
        return NAN
    return boundary_jump_ratio(decoded)


def _canvas(real: Songs, scale: dict[str, float]) -> Canvas:
    return Canvas.of(lambda: (d.poses / scale[song] for song, mine in real.items() for d in mine))


def _range_figures(dances: Songs, mine: dict[str, float], real: Songs, theirs: dict[str, float]) -> dict[str, Figure]:
    """How far the 5 to 95 % ranges of the projected bones are from the real ones: the worst bone, and the mean."""

    def ranges(songs: Songs, scale: dict[str, float]) -> Floats:
        def lengths() -> Iterator[Floats]:
            return (bone_lengths(d.poses) / scale[song] for song, m in songs.items() for d in m)

        return percentiles(lengths, (5, 95)).T

    errors = range_errors(ranges(dances, mine), ranges(real, theirs))
    worst = int(errors.argmax())
    unit = "relative error of the width"
    return {
        "bone_range_worst": Figure(
            float(errors[worst]), len(dances), unit, "lower", note=f"of 13 bones: {BONES[worst]}"
        ),
        "bone_range_mean": Figure(float(errors.mean()), len(dances), unit, "lower", note="mean over 13 bones"),
    }
