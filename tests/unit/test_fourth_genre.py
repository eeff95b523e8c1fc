"""A genre left out of training: the corpus without it, and the baselines of its energy, on constructed songs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.data.manifest import read_manifest
from d2m.data.splits import assign_splits
from experiments.fourth_genre.run import baselines, ratio
from experiments.fourth_genre.split import without


def write_manifest(folder: Path) -> Path:
    folder.mkdir()
    rows = [f"{g}{k},{g},audio/{g}{k}.ogg,pose/{g}{k}.npz,{k},9.5" for g in "abc" for k in range(6)]
    (folder / "manifest.csv").write_text("\n".join(["name,genre,audio,pose,start,end", *rows]) + "\n")
    return folder


def test_a_corpus_without_a_genre_keeps_files_times_and_splits(tmp_path: Path) -> None:
    raw, out = write_manifest(tmp_path / "raw"), tmp_path / "two"
    assert without(raw, out, "b") == 12
    whole, left = read_manifest(raw), read_manifest(out)
    same = [r for r in whole if r.genre != "b"]
    assert [(r.name, r.genre, r.group, r.start_s, r.end_s) for r in left] == [
        (r.name, r.genre, r.group, r.start_s, r.end_s) for r in same
    ]
    assert [(r.audio, r.pose) for r in left] == [(r.audio, r.pose) for r in same]
    split = dict(zip([r.name for r in whole], assign_splits([r.genre for r in whole], [r.group for r in whole], 3)))
    assert assign_splits([r.genre for r in left], [r.group for r in left], 3) == [split[r.name] for r in left]


def test_what_cannot_be_left_out_is_refused(tmp_path: Path) -> None:
    raw = write_manifest(tmp_path / "raw")
    before = (raw / "manifest.csv").read_text()
    with pytest.raises(D2MError, match=r"leave=waltz.* a, b, c"):
        without(raw, tmp_path / "out", "waltz")
    with pytest.raises(D2MError, match="is the whole corpus"):
        without(raw, raw, "b")
    assert (raw / "manifest.csv").read_text() == before


def test_baselines_have_the_training_songs_energy_and_follow_what_they_know() -> None:
    rng = np.random.default_rng(0)
    x, period = rng.normal(size=(60, 4)), rng.uniform(0.4, 0.7, 60)
    energy = np.exp(0.5 * x[:, 0])
    for values in baselines(x, period, energy, x, period).values():
        assert values.mean() == pytest.approx(energy.mean())
    new = np.zeros((2, 4))
    new[1, 0] = 2.0
    told = baselines(x, period, energy, new, np.array([0.5, 0.25]))
    assert told["constant"].tolist() == pytest.approx([energy.mean()] * 2)
    assert told["beats"][1] == pytest.approx(4 * told["beats"][0])  # twice as fast
    assert told["ridge"][1] / told["ridge"][0] == pytest.approx(np.e, rel=0.05)


def test_the_ratio_is_of_means_and_its_interval_of_songs() -> None:
    songs = [{"song": n, "real": r, "made": m} for n, r, m in (("a", 1.0, 0.5), ("b", 3.0, 1.5), ("c", 2.0, 1.0))]
    assert ratio(songs, "made") == pytest.approx((0.5, 0.5, 0.5))
    value, low, high = ratio([*songs[:2], {"song": "c", "real": 2.0, "made": 4.0}], "made")
    assert value == pytest.approx(1.0) and 0 < low < 1 < high
    assert np.isnan(ratio(songs[:1], "made")[1:]).all()
