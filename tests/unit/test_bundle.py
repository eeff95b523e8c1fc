"""Bundles: whole or not at all, checked, free of pickle and of the training stack."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m.bundle import FILES, read_bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator


def test_it_has_the_seven_files_and_no_pickle(tiny_bundle: Path) -> None:
    assert sorted(p.name for p in tiny_bundle.iterdir()) == sorted(FILES)
    for path in tiny_bundle.glob("*.npz"):
        with np.load(path, allow_pickle=False) as f:
            assert all(f[k].dtype.kind == "f" for k in f.files)


def test_round_trip(tiny_bundle: Path, tmp_path: Path) -> None:
    a = read_bundle(tiny_bundle)
    copy = write_bundle(
        tmp_path / "copy", config={k: v for k, v in a.config.items() if k != "format"}, state=a.state,
        normalizer=a.normalizer, genres=a.genres, genre_means=a.genre_means, provenance={"x": 1}, card="c",
    )  # fmt: skip
    b = read_bundle(copy)
    assert b.config == a.config and b.genres == a.genres
    assert all(torch.equal(a.state[k], b.state[k]) for k in a.state)
    assert all(np.array_equal(a.genre_means[g], b.genre_means[g]) for g in a.genres)
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    broken = shutil.copytree(tiny_bundle, tmp_path / "b")
    (broken / name).unlink()
    with pytest.raises(D2MError, match=f"{name}: missing"):
        DanceGenerator.load(broken)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    broken = shutil.copytree(tiny_bundle, tmp_path / "b")
    data = bytearray((broken / name).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / name).write_bytes(bytes(data))
    with pytest.raises(D2MError, match=name):
        DanceGenerator.load(broken)


def test_weights_that_do_not_fit_the_config_are_named(tiny_bundle: Path, tmp_path: Path) -> None:
    a = read_bundle(tiny_bundle)
    config = {k: v for k, v in a.config.items() if k != "format"}
    config["sizes"] = {**config["sizes"], "z_dan": 9}
    other = write_bundle(
        tmp_path / "o", config=config, state=a.state, normalizer=a.normalizer, genres=a.genres,
        genre_means=a.genre_means, provenance={}, card="",
    )  # fmt: skip
    with pytest.raises(D2MError, match=r"tensor 'dance_decoder.*' has shape"):
        DanceGenerator.load(other)


def test_no_such_bundle() -> None:
    with pytest.raises(D2MError, match="no such bundle"):
        read_bundle("/nowhere/at/all")


def test_a_runs_folder_is_not_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(D2MError, match=r": a run's folder; give .*bundle$"):
        read_bundle(tmp_path)


def test_a_failed_write_leaves_the_old_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    old = shutil.copytree(tiny_bundle, tmp_path / "b")
    a = read_bundle(old)
    with pytest.raises(TypeError):
        write_bundle(
            old, config={k: v for k, v in a.config.items() if k != "format"}, state=a.state, normalizer=a.normalizer,
            genres=a.genres, genre_means=a.genre_means, provenance={"not json": object()}, card="",
        )  # fmt: skip
    assert read_bundle(old).provenance == a.provenance
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_the_seal_covers_the_provenance(tiny_bundle: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_bundle, tmp_path / "b")
    provenance = json.loads((broken / "provenance.json").read_text())
    provenance["git"] = "another"
    (broken / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(D2MError, match=r"provenance\.json: altered"):
        read_bundle(broken)


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"files": 3}'])
def test_a_provenance_that_is_none(text: str, tiny_bundle: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_bundle, tmp_path / "b")
    (broken / "provenance.json").write_text(text)
    with pytest.raises(D2MError, match=r"provenance\.json: not a readable provenance"):
        read_bundle(broken)
