"""Many edits of one dance at once: the poses that dance_to makes of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m.dance.generator import DanceGenerator
from d2m.dance.together import dance_again, dance_to
from d2m.edits.mean_shift import MeanShift


@pytest.mark.parametrize("rows", [1, 2, 32])
def test_a_batch_of_latents_dances_as_each_would(tiny_bundle: Path, song_features: np.ndarray, rows: int) -> None:
    generator = DanceGenerator.load(tiny_bundle)
    generator.motion_threshold = 1e9  # draws are rejected, so that accepted ones must be found again
    beats = np.arange(0.2, 10, 0.47)
    edit = MeanShift("flow", "drive")
    dance = dance_to(generator, song_features, beats, 150, seed=3, edit=edit)
    assert dance.draws.any()
    again = dance_again(generator, dance, np.stack(list(dance.z_dan.values())), seed=3, rows=rows)
    for k, name in enumerate(dance.z_dan):
        np.testing.assert_allclose(again.poses[k], dance.poses[name], atol=1e-3)
        np.testing.assert_allclose(again.unwarped[k], dance.unwarped[name], atol=1e-3)
    other = dance_again(generator, dance, dance.z_dan["original"][None], seed=4)
    assert np.abs(other.poses[0] - dance.poses["original"]).max() > 1  # another noise is another dance
