"""Analyses of the latent and of dances, each as numbers, figures and a section of a page.

Reports, experiments and callbacks are composed of these; the computations are in :mod:`d2m.stats` and
:mod:`d2m.metrics`.
"""

from __future__ import annotations

from d2m.reports.readings.comparison import comparison_reading, matched_strength
from d2m.reports.readings.edits import motion_reading, music_edits_reading
from d2m.reports.readings.reading import Reading
from d2m.reports.readings.sides import directions_reading, joint_reading
from d2m.reports.readings.structure import structure_reading

__all__ = [
    "Reading",
    "comparison_reading",
    "directions_reading",
    "joint_reading",
    "matched_strength",
    "motion_reading",
    "music_edits_reading",
    "structure_reading",
]
