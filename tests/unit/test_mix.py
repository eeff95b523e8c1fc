"""Mixtures: a song has one split, its sound is found even in mixtures of mixtures, beat trackers must agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import read_manifest_rows, write_manifest, write_raw

from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.data.layout import INDEX, REPORT, SOURCES_LOG, TABLE
from d2m.data.splits import SPLITS, strictest
from d2m.data.table import write_table
from d2m.prepare.mix import open_corpora
from d2m.prepare.run import prepare


def raw(root: Path, genre: str, names: list[str]) -> Path:
    return write_raw(root, dict.fromkeys(names, genre), seconds=9.0)


def resplit(folder: Path, out: Path, splits: dict[str, str]) -> Path:
    """A copy of a corpus whose recordings are split as told."""
    shutil.copytree(folder, out)
    corpus = Corpus.open(out)
    table = [r._replace(split=splits[r.name]) for r in corpus.recordings]
    index = json.loads((out / INDEX).read_text())
    (out / INDEX).write_text(json.dumps({**index, "inputs": f"{index['inputs']}{sorted(splits.items())}"}))
    (out / TABLE).unlink()
    write_table(out / TABLE, table)
    (out / "recording_split.npy").unlink()
    np.save(out / "recording_split.npy", np.array([SPLITS.index(r.split) for r in table]))
    return out


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three corpora; songs a and b of the first are the second's x and y, byte for byte."""
    root = tmp_path_factory.mktemp("mix")
    first = raw(root / "1", "groove", ["a", "b", "c"])
    second = raw(root / "2", "flow", ["x", "y", "z"])
    for old, new in (("a", "x"), ("b", "y")):
        shutil.copy(first / f"audio/{old}.flac", second / f"audio/{new}.flac")
    third = raw(root / "3", "drive", ["q"])
    return tuple(prepare(r, root / "out", [0], workers=1) for r in (first, second, third))  # type: ignore[return-value]


@pytest.fixture
def splits_that_leak(corpora: tuple[Path, Path, Path], tmp_path: Path) -> list[Path]:
    one = resplit(corpora[0], tmp_path / "one", {"a": "train", "b": "train", "c": "train"})
    two = resplit(corpora[1], tmp_path / "two", {"x": "test", "y": "val", "z": "train"})
    return [one, two]


def test_a_song_of_two_corpora_comes_into_one_split(splits_that_leak: list[Path], tmp_path: Path) -> None:
    mixed = Corpus.open(open_corpora(splits_that_leak, tmp_path / "cache"))
    found = {r.name: r.split for r in mixed.recordings}
    assert found == {"a": "test", "b": "val", "c": "train", "x": "test", "y": "val", "z": "train"}
    assert [SPLITS[i] for i in mixed.recording_split] == list(found.values())
    trained = {mixed.recordings[int(i)].name for i in np.unique(mixed.unit_recording[mixed.units_in("train")])}
    assert trained <= {"c", "z"}
    moved = json.loads((mixed.folder / REPORT).read_text())["moved"]
    assert moved == [{"name": "a", "from": "train", "to": "test"}, {"name": "b", "from": "train", "to": "val"}]


def test_a_group_moves_as_a_whole_and_strangers_stay() -> None:
    links = [["song 1", "anna"], ["song 2", "anna"], ["song 2"], ["song 3"], []]
    assert strictest(["test", "train", "train", "train", "val"], links) == ["test", "test", "test", "train", "val"]


def test_older_corpora_are_compared_by_their_files(splits_that_leak: list[Path], tmp_path: Path) -> None:
    for folder in splits_that_leak:
        rows = [r._replace(audio_sha256="") for r in Corpus.open(folder).recordings]
        (folder / TABLE).unlink()
        write_table(folder / TABLE, rows)
    mixed = Corpus.open(open_corpora(splits_that_leak, tmp_path / "cache"))
    assert {r.name: r.split for r in mixed.recordings}["a"] == "test"


def test_nothing_left_to_train_on_is_one_line(corpora: tuple[Path, Path, Path], tmp_path: Path) -> None:
    one = resplit(corpora[0], tmp_path / "one", dict.fromkeys("abc", "train"))
    two = resplit(corpora[1], tmp_path / "two", dict.fromkeys("xyz", "test"))
    rows = [r._replace(group="all") for r in Corpus.open(one).recordings]
    (one / TABLE).unlink()
    write_table(one / TABLE, rows)
    with pytest.raises(D2MError, match="held out by another") as e:
        open_corpora([one, two], tmp_path / "cache")
    assert "\n" not in str(e.value)


def test_a_mixture_of_a_mixture_finds_all_sound(corpora: tuple[Path, Path, Path], tmp_path: Path) -> None:
    inner = open_corpora(corpora[:2], tmp_path)
    outer = Corpus.open(open_corpora([inner, corpora[2]], tmp_path))
    assert all(outer.audio_path(i) is not None for i in range(7))
    assert [outer.audio_path(i).stem for i in range(7)] == list("abcxyzq")  # type: ignore[union-attr]


def test_sound_of_an_unknown_place_is_none(
    corpora: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Path(shutil.copytree(corpora[2], tmp_path / "lost"))
    (lost / SOURCES_LOG).unlink()
    mixed = Corpus.open(open_corpora([lost, corpora[0]], tmp_path / "cache"))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/q.flac").touch()
    monkeypatch.chdir(tmp_path)  # what lies here by chance is not the song
    assert mixed.audio_path(0) is None and mixed.audio_path(1) is not None and mixed.raw_root is None


def test_trackers_agree(corpora: tuple[Path, Path, Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(corpora[2], tmp_path / "other"))
    index = json.loads((other / INDEX).read_text())
    assert index["beat_tracker"] == {"name": "librosa", "weights": ""}
    (other / INDEX).write_text(json.dumps({**index, "beat_tracker": {"name": "beat_this", "weights": "ab"}}))
    with pytest.raises(D2MError, match="music beats of beat_this ab and librosa; prepare all with one beats"):
        open_corpora([corpora[0], other], tmp_path / "cache")


def test_equal_songs_under_two_names_share_a_group(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", "groove", ["a", "b", "c"])
    shutil.copy(folder / "audio/a.flac", folder / "audio/c.flac")
    write_manifest(folder, [{k: v for k, v in row.items() if k != "group"} for row in read_manifest_rows(folder)])
    corpus = Corpus.open(prepare(folder, tmp_path, [0], workers=1))
    a, b, c = corpus.recordings
    assert a.group == c.group != b.group and a.audio_sha256 == c.audio_sha256 and a.split == c.split


def test_identity_is_what_it_was_made_from_not_the_folders_name(
    corpora: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    from d2m.train.callbacks.artifacts import corpus_node

    here = Path(shutil.copytree(corpora[0], tmp_path / "a" / "corpus"))
    there = Path(shutil.copytree(corpora[0], tmp_path / "b" / "renamed"))
    other = Path(shutil.copytree(corpora[1], tmp_path / "c" / "corpus"))
    shutil.copy(here / "normalizer.npz", other / "normalizer.npz")
    assert corpus_node(here).alias == corpus_node(there).alias != corpus_node(other).alias
    assert corpus_node(here).metadata["fingerprint"] == Corpus.open(there).digest
    assert json.loads((here / REPORT).read_text())["digest"] == Corpus.open(here).digest
    old = Path(shutil.copytree(here, tmp_path / "old"))
    index = json.loads((old / INDEX).read_text())
    del index["inputs"]
    (old / INDEX).write_text(json.dumps(index))
    assert len(Corpus.open(old).digest) == 64 and Corpus.open(old).digest != Corpus.open(here).digest
