"""Manifests as spreadsheets write them, names as systems spell them, folders as links make them."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dancing import dancer

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.core.walk import walk_files
from d2m.data.manifest import read_manifest
from d2m.data.songs import find_songs
from d2m.prepare.discover import find_recordings
from d2m.prepare.songlist import read_rows

TABLE = "name,genre,audio,pose,start,end,fps\na,Música,s/a.wav,p/a.npz,1.5,9,29.97\n"


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda t: t.encode(), lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: t.encode("utf-16"),
        lambda t: t.replace("\n", "\r\n").encode(), lambda t: t.replace("\n", "\r").encode(),
        lambda t: t.replace(",", "\t").encode("utf-16"), lambda t: ("\n\n" + t + "\n").encode(),
        lambda t: t.replace(",", ";").replace("1.5", "1,5").replace("29.97", "29,97").encode(),
        lambda t: ("sep=;\n" + t.replace(",", ";")).encode(),
        lambda t: t.replace("name,genre", "Name, GENRE ").encode(),
        lambda t: decomposed(t).encode(), lambda t: t.replace("Música", "\u200bMúsica\u00a0").encode(),
        lambda t: t.replace("s/a", "s\\a").replace("p/a", "p\\a").encode(),
        lambda t: t.replace("\n", ",\n").encode(),
    ],
)  # fmt: skip
def test_one_manifest_in_many_spellings(tmp_path: Path, spelled: object) -> None:
    for file in ("s/a.wav", "p/a.npz"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    (tmp_path / "manifest.csv").write_bytes(spelled(TABLE))  # type: ignore[operator]
    (r,) = read_manifest(tmp_path)
    assert (r.name, r.genre, r.start_s, r.end_s, r.stated) == ("a", "Música", 1.5, 9.0, (("fps", "29.97"),))
    assert r.audio is not None and r.audio.is_file() and r.pose.is_file()


def test_a_list_of_songs_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("path;genre;start\na.wav;waltz;2,5\n")
    (row,) = read_rows(tmp_path / "songs.csv")
    assert (row.genre, row.start) == ("waltz", 2.5)


def fill(folder: Path, pose: str, song: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{pose}.npz", joints=dancer(2.0), fps=30.0, joint_names=np.array(JOINTS))
    soundfile.write(folder / f"{song}.wav", np.random.default_rng(0).normal(0, 0.1, 44100), 22050)


def test_songs_are_found_however_systems_spell_names(tmp_path: Path) -> None:
    fill(tmp_path / "x", composed("cañón"), decomposed("cañón"))
    fill(tmp_path / "x", "dance", "DANCE")
    fill(tmp_path / "x", "take", "take")
    fill(tmp_path / "x", "TAKE", "TAKE")
    found = find_recordings(tmp_path, "npz")
    assert not found.refused and len(found.recordings) == 4
    assert all(r.audio is not None for r in found.recordings)
    assert {r.name: r.audio.stem for r in found.recordings if r.audio}["TAKE"] == "TAKE"


def test_genres_that_differ_in_capitals_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "Waltz", "a", "a")
    fill(tmp_path / "waltz", "b", "b")
    with pytest.raises(D2MError, match=r"the genres 'Waltz' and 'waltz' would be two; spell them alike"):
        find_recordings(tmp_path, "npz")
    shutil.move(str(tmp_path / "waltz" / "b.npz"), tmp_path / "Waltz" / "b.npz")
    shutil.move(str(tmp_path / "waltz" / "b.wav"), tmp_path / "Waltz" / "b.wav")
    assert {r.genre for r in find_recordings(tmp_path, "npz").recordings} == {"Waltz"}


def test_links_that_lead_back_give_nothing_twice(tmp_path: Path) -> None:
    fill(tmp_path / "raw" / "x", "a", "a")
    (tmp_path / "raw" / "again").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "a_link").symlink_to(tmp_path / "raw" / "x")
    (tmp_path / "raw" / "x" / "gone.wav").symlink_to(tmp_path / "nowhere")
    assert sorted(p.name for p in walk_files(tmp_path / "raw")) == ["a.npz", "a.wav", "gone.wav"]
    (recording,) = find_recordings(tmp_path / "raw", "npz").recordings
    assert (recording.name, recording.genre) == ("a", "x")
    assert len(find_songs(str(tmp_path / "raw" / "**" / "*.wav"))) == 1


@pytest.mark.parametrize("name", ["Manifest.csv", "manifest.tsv", "manifest.xlsx", "manifest.csv.txt"])
def test_a_manifest_under_another_name_is_not_ignored(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.npz").touch()
    (tmp_path / name).write_text("name,genre,audio,pose\na,waltz,,a.npz\n")
    if (tmp_path / "manifest.csv").exists():
        pytest.skip("this file system does not tell capitals apart")
    with pytest.raises(D2MError, match=rf"{name}: is not read; save it as manifest.csv"):
        find_recordings(tmp_path, "npz")
    (tmp_path / name).rename(tmp_path / "manifest.csv")
    assert [r.name for r in find_recordings(tmp_path, "npz").recordings] == ["a"]


def test_songs_of_which_none_is_named_like_its_poses_are_refused(tmp_path: Path) -> None:
    for name in ("d0.npz", "d1.npz", "s0.wav", "s1.wav"):
        (tmp_path / name).touch()
    with pytest.raises(D2MError, match=r"2 songs, but none is named like its poses; name them alike \(d0.wav for d0"):
        find_recordings(tmp_path, "npz")
    (tmp_path / "s0.wav").rename(tmp_path / "d0.wav")
    discovered = find_recordings(tmp_path, "npz")
    assert [r.audio is not None for r in discovered.recordings] == [True, False]
    assert [r.name for r, _ in discovered.refused] == ["s1.wav"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_a_manifest_may_be_composed_otherwise(tmp_path: Path, form: str) -> None:
    (tmp_path / unicodedata.normalize("NFC" if form == "NFD" else "NFD", "é.npz")).touch()
    (tmp_path / "manifest.csv").write_text(unicodedata.normalize(form, "name,genre,audio,pose\na,x,,é.npz\n"))
    assert find_recordings(tmp_path, "npz").recordings[0].pose.is_file()
