"""Opening a corpus reads its index and the arrays' headers, however many recordings there are."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from corpora import write_raw

from d2m.core.errors import D2MError
from d2m.data import table as table_module
from d2m.data.corpus import Corpus
from d2m.data.layout import FORMAT, INDEX, REPORT, TABLE, layout
from d2m.data.table import RecordingInfo, write_table
from d2m.prepare.run import prepare

N = 360_000
PER = 4  # units of a recording


def sparse_corpus(folder: Path, n: int = N) -> Path:
    """A corpus of n recordings whose units, poses and features are holes in sparse files."""
    rows = {
        "units": n * PER, "features": n * 150, "poses": n * 150, "beats": n * 20, "onsets": n * 40, "runs": n,
        **{f"recording_{k}": n for k in ("genre", "split")},
        **{f"unit_{k}": n * PER for k in ("recording", "view", "genre", "span", "beats")},
        **{f"{k}_bounds": n for k in ("feature", "pose", "beat", "onset")},
    }  # fmt: skip
    real = {
        "recording_genre": np.arange(n) % 3, "recording_split": (np.arange(n) % 10 == 9).astype(int),
        "unit_recording": np.repeat(np.arange(n), PER), "unit_genre": np.repeat(np.arange(n) % 3, PER),
        "runs": np.stack([PER * np.arange(n), np.full(n, PER)], axis=1),
        "feature_bounds": np.stack([150 * np.arange(n), np.full(n, 150)], axis=1),
    }  # fmt: skip
    for name, (shape, dtype) in layout(28).items():
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows[name], *shape))
        if name in real:
            array[:] = real[name]
        del array
    split = ("train", "val")
    write_table(folder / TABLE, (
        RecordingInfo(f"r{i}", "abc"[i % 3], f"g{i // 2}", split[i % 10 == 9], 10.0, 120.0, 0.0, f"{i}.ogg", "CC BY")
        for i in range(n)
    ))  # fmt: skip
    info = {"format": FORMAT, "front_end": "mfcc", "fps": 15, "genres": list("abc"), "rows": rows, "recordings": n,
            "inputs": "", "options": {}}  # fmt: skip
    (folder / INDEX).write_text(json.dumps(info))
    (folder / REPORT).write_text("{}")
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sparse_corpus(tmp_path_factory.mktemp("large"))


def test_opening_is_cheap_by_structure(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module.RecordingTable, "__init__", lambda *_: pytest.fail("the table was read"))
    tracemalloc.start()
    corpus = Corpus.open(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000  # 360,000 of anything would be more
    assert all(isinstance(getattr(corpus, name), np.memmap) for name in layout(28))
    assert corpus.units.shape == (N * PER, 32, 28)
    assert len(pickle.dumps(corpus)) < 1000  # workers get the folder, not the data


def test_recordings_are_read_where_they_are_asked_for(large: Path) -> None:
    corpus = Corpus.open(large)
    assert len(corpus.recordings) == N
    assert corpus.recordings[N - 1] == corpus.recordings[-1]
    assert corpus.recordings[123_456].name == "r123456" and corpus.recordings[7].group == "g3"
    assert [r.name for r in corpus.recordings[5:8]] == ["r5", "r6", "r7"]
    with pytest.raises(IndexError):
        corpus.recordings[N]
    assert len(corpus.recordings_in("val", genre="b", with_music=True)) == N // 30
    assert len(corpus.units_in("val")) == N // 10 * PER


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    return prepare(write_raw(root / "raw", {"a": "groove"}, seconds=9.0), root, yaws=[0], workers=1)


@pytest.mark.parametrize("broken", [*(f"{n}.npy" for n in ("units", "runs")), INDEX, TABLE, REPORT, "normalizer.npz"])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_corpus_that_is_not_whole_is_refused(small: Path, tmp_path: Path, broken: str, how: str) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    for file in small.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    if how == "gone":
        (folder / broken).unlink()
    else:
        content = (folder / broken).read_bytes()
        (folder / broken).write_bytes(content[: len(content) // 2])
    if broken == REPORT and how == "cut":
        return  # for people: opening does not read it
    with pytest.raises(D2MError, match="prepar") as e:
        corpus = Corpus.open(folder)
        len(corpus.recordings), corpus.normalizer
    assert "\n" not in str(e.value)


def test_an_older_format_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("{}")
    with pytest.raises(D2MError, match="older version"):
        Corpus.open(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"format": 1}))
    with pytest.raises(D2MError, match="format 1"):
        Corpus.open(tmp_path)
