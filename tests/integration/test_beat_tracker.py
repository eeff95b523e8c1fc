"""A bundle uses the beat tracker of its training music, or fails with one line that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from d2m.bundle import read_bundle, write_bundle
from d2m.cli.infer import infer
from d2m.core.errors import D2MError
from d2m.music.beats import BEAT_TRACKERS, WEIGHTS_VARIABLE

CONF = str(Path(__file__).parents[2] / "conf")


def bundle_of(tracker: str, tiny: Path, folder: Path) -> Path:
    """The bundle ``tiny``, of music whose beats ``tracker`` found."""
    b = read_bundle(tiny)
    config = {**{k: v for k, v in b.config.items() if k != "format"}, "beat_tracker": {"name": tracker, "weights": ""}}
    return write_bundle(
        folder, config=config, state=b.state, normalizer=b.normalizer, genres=b.genres, genre_means=b.genre_means,
        provenance={}, card="",
    )  # fmt: skip


def dance(bundle: Path, folder: Path) -> Path:
    soundfile.write(folder / "song.wav", 0.1 * np.random.default_rng(0).standard_normal(22050 * 4), 22050)
    with initialize_config_dir(CONF, version_base="1.3"):
        words = [f"bundle={bundle}", f"music={folder / 'song.wav'}", f"out={folder / 'out'}", "video=false"]
        infer(compose("infer", words))
    return folder / "out" / "song.npz"


def test_the_recorded_tracker_finds_the_beats(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = [0.5, 1.1, 1.7, 2.3, 2.9]
    monkeypatch.setitem(BEAT_TRACKERS, "fake", lambda checkpoint, weights: lambda mono, envelope: beats)
    with np.load(dance(bundle_of("fake", tiny_bundle, tmp_path / "b"), tmp_path)) as made:
        np.testing.assert_array_equal(made["music_beats"], beats)


def test_a_tracker_that_is_not_here_is_one_line_before_any_song(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(D2MError, match=f"beat tracker beat_this: .*{WEIGHTS_VARIABLE}") as e:
        dance(bundle_of("beat_this", tiny_bundle, tmp_path / "b"), tmp_path)
    assert "\n" not in str(e.value) and not (tmp_path / "out").exists()
