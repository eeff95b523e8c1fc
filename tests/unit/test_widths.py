"""The feature width belongs to the front end: corpora and bundles of different widths side by side in one process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpora import write_raw

from d2m.bundle import read_bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.core.skeleton import HOP
from d2m.dance.generator import DanceGenerator
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.data.layout import INDEX
from d2m.data.normalizer import Normalizer
from d2m.music.audio import n_frames
from d2m.music.front_ends import FRONT_ENDS, FrontEnd
from d2m.prepare.mix import open_corpora
from d2m.prepare.run import prepare

WIDTH = 3


def peaks(wave: np.ndarray) -> np.ndarray:
    """(n,) -> (t, 3): the loudest sample of every frame, its square, one."""
    t = n_frames(len(wave))
    loud = np.abs(np.resize(wave, t * HOP)).reshape(t, HOP).max(1)
    return np.stack([loud, loud**2, np.ones(t)], 1)


@pytest.fixture(scope="module", autouse=True)
def fake() -> Iterator[None]:
    FRONT_ENDS["peaks"] = FrontEnd("peaks", ("peak", "peak_power", "one"), 1 / 15, peaks, {"exponent": 2})
    yield
    del FRONT_ENDS["peaks"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(28 wide, 3 wide) of the same songs."""
    root = tmp_path_factory.mktemp("widths")
    raw = write_raw(root / "raw", {"a": "groove", "b": "flow"}, seconds=12.0)
    return tuple(prepare(raw, root, [0], name, workers=1) for name in ("mfcc", "peaks"))  # type: ignore[return-value]


def test_two_widths_are_prepared_opened_batched_and_normalised(corpora: tuple[Path, Path]) -> None:
    for folder, name, width in zip(corpora, ("mfcc", "peaks"), (28, WIDTH), strict=True):
        corpus = Corpus.open(folder)
        assert corpus.n_features == corpus.normalizer.n_features == width and corpus.front_end == name
        index = json.loads((folder / INDEX).read_text())
        assert index["columns"] == list(FRONT_ENDS[name].columns)
        assert index["front_end_params"] == FRONT_ENDS[name].params
        assert f"front end `{name}`, {width} features" in (folder / "DATA.md").read_text()
        for stage, frames in (("songs", 30), ("sequences", 30)):
            data = DanceDataModule(str(folder), stage, batch_size=16)
            raw = next(iter(data.train_dataloader()))
            batch = data.on_after_batch_transfer(raw)
            assert batch["features"].shape == (16, frames, width)
            np.testing.assert_array_equal(
                batch["features"].numpy(), corpus.normalizer.normalize_features(raw["features"].numpy())
            )
    a, b = map(Corpus.open, corpora)
    np.testing.assert_array_equal(a.units, b.units)
    assert a.digest != b.digest


def test_corpora_of_two_widths_do_not_mix(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=r"mfcc \(28 columns\) and peaks \(3 columns\); prepare all with one front_end"):
        open_corpora(corpora, tmp_path)


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("fps", 30, "fps is 30, but this version reads 15"),
        ("units", "m", "units is m, but this version reads px"),
        ("joints", ["nose", "left_hip"], "joints is left_hip, but this version reads neck"),
        ("columns", ["peak", "energy", "one"], "columns is energy, but this version reads peak_power"),
        ("columns", ["peak", "peak_power"], "columns is None, but this version reads one"),
    ],
)
def test_what_a_corpus_says_of_itself_is_checked(
    corpora: tuple[Path, Path], tmp_path: Path, key: str, value: object, told: str
) -> None:
    folder = Path(shutil.copytree(corpora[1], tmp_path / "c"))
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, key: value}))
    with pytest.raises(D2MError, match=f"{told}; prepare the corpus again") as e:
        Corpus.open(folder)
    assert "\n" not in str(e.value)


def test_a_corpus_of_the_time_before_it_said_so_opens(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corpora[0], tmp_path / "c"))
    new = ("units", "joints", "columns", "front_end_params", "beat_tracker")
    index = {k: v for k, v in json.loads((folder / INDEX).read_text()).items() if k not in new}
    (folder / INDEX).write_text(json.dumps(index))
    corpus = Corpus.open(folder)
    assert corpus.n_features == 28 and corpus.beat_tracker.name == "librosa"
    assert corpus.digest == Corpus.open(corpora[0]).digest


def test_a_corpus_of_a_front_end_that_is_not_here_opens_by_its_columns(
    corpora: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(FRONT_ENDS, "peaks")
    assert Corpus.open(corpora[1]).n_features == WIDTH


# --- bundles -------------------------------------------------------------------------------------------------------


def bundle(folder: Path, old: Path, front_end: str, width: int, **sizes: int) -> Path:
    """A bundle like ``old``, of other features."""
    b = read_bundle(old)
    normal = Normalizer.identity(width)
    config = {k: v for k, v in b.config.items() if k != "format"}
    return write_bundle(
        folder, config={**config, "front_end": front_end, "sizes": {**config["sizes"], **sizes}}, state=b.state,
        normalizer=Normalizer(b.normalizer.pose_mean, b.normalizer.pose_std, normal.feature_mean, normal.feature_std),
        genres=b.genres, genre_means=b.genre_means, provenance={}, card="",
    )  # fmt: skip


def test_a_bundle_whose_parts_disagree_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=r"feature widths differ \(the normaliser 3, .*front end mfcc 28\)"):
        read_bundle(bundle(tmp_path / "a", tiny_bundle, "mfcc", WIDTH))
    with pytest.raises(D2MError, match=r"differ \(the normaliser 28, the networks 3, front end mfcc 28\)"):
        read_bundle(bundle(tmp_path / "b", tiny_bundle, "mfcc", 28, n_features=WIDTH))


def test_bundles_of_two_widths_are_read_in_one_process(tiny_bundle: Path, tmp_path: Path) -> None:
    narrow = read_bundle(bundle(tmp_path / "a", tiny_bundle, "peaks", WIDTH, n_features=WIDTH))
    assert (narrow.normalizer.n_features, read_bundle(tiny_bundle).normalizer.n_features) == (WIDTH, 28)
    assert DanceGenerator.load(tiny_bundle).beat_tracker.name == "librosa"
