"""The legacy front end against features recorded from the reference's era.

The recording (`audio_legacy.npz`: NAME.wave int16 at 22,050 Hz, NAME.features) lies in $D2M_PARITY_DIR, by
default `../shared/parity` beside the repository; it is not part of the project.
"""

from __future__ import annotations

import numpy as np
from parity_recording import arrays, needs_recording

from d2m.music.front_ends import features
from d2m.music.front_ends.legacy import legacy_features


def _songs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    data = arrays("audio_legacy.npz")
    names = [key.removesuffix(".wave") for key in data if key.endswith(".wave")]
    return {name: (data[f"{name}.wave"], data[f"{name}.features"]) for name in names}


@needs_recording
def test_parity_legacy_features_float64() -> None:
    songs = _songs()
    assert songs
    for name, (wave, recorded) in songs.items():
        ours = legacy_features(wave)
        assert ours.shape == recorded.shape, name
        # atol: differences of near-equal frames and the cosine sums of silence cancel to rounding noise.
        np.testing.assert_allclose(ours, recorded, rtol=1e-9, atol=1e-12, err_msg=name)


@needs_recording
def test_parity_legacy_features_of_the_float_wave() -> None:
    for name, (wave, recorded) in _songs().items():
        ours = features(wave.astype(np.float32) / 32768, "legacy")
        np.testing.assert_allclose(ours, recorded.astype(np.float32), rtol=1e-6, atol=1e-6, err_msg=name)
