"""Extraction: the same latents as one song at a time, resumable, both sides; and the table they are kept in."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.dance import extraction
from d2m.dance.encoding import Extraction, encode_songs, space_of, wave_encoder
from d2m.dance.extraction import extract_corpus_music, extract_dance, extract_music
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, find_music
from d2m.music.audio import load_song
from d2m.music.front_ends import features
from d2m.stats.joint import retrieval
from d2m.toy.embedded import prepare_embedded


@pytest.fixture(scope="module")
def generator(tiny_bundle: Path) -> DanceGenerator:
    return DanceGenerator.load(tiny_bundle)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three genres of four songs, 3 to 7 s: a tone and noise."""
    root = tmp_path_factory.mktemp("a music folder")
    rng = np.random.default_rng(0)
    for g, genre in enumerate(("slow waltz", "chacha", "tango")):
        (root / genre).mkdir()
        for k in range(4):
            t = np.arange(int((3 + k) * SAMPLE_RATE)) / SAMPLE_RATE
            wave = 0.3 * np.sin(2 * np.pi * 200 * (g + 1) * t) + 0.02 * (k + 1) * rng.normal(size=len(t))
            soundfile.write(root / genre / f"song {k}.wav", wave, SAMPLE_RATE)
    return root


def test_batched_songs_are_the_songs_alone(generator: DanceGenerator, music: Path, tmp_path: Path) -> None:
    songs = find_music(music)
    table, bad = extract_music(generator, songs, Extraction(), tmp_path, batch=5)
    assert not bad and len(table) == 12 and table.mu.shape == (12, 8) and table.draws.shape == (12, 8, 8)
    assert table.song.tolist() == [s.name for s in songs] and table.genres == ["chacha", "slow waltz", "tango"]
    assert table.meta["side"] == "music" and table.meta["front_end"] == "mfcc"
    assert table.meta["space"] == space_of(generator) == generator.provenance["files"]["weights.safetensors"]
    for k in (0, 7):
        x = features(load_song(songs[k].path), "mfcc")
        noise = torch.randn(64, 30, generator=torch.Generator().manual_seed(0))
        alone = generator.net.style_to_dance(generator.style(x).expand(64, -1), noise)
        np.testing.assert_allclose(table.mu[k], alone.mu.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(table.sigma[k], torch.exp(0.5 * alone.logvar.mean(0)), rtol=1e-4)
        np.testing.assert_allclose(table.style[k], generator.style(x), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            wave_encoder(generator, Extraction())(load_song(songs[k].path)), table.mu[k], atol=1e-5
        )


def test_legacy_styles_are_the_state_after_the_song(generator: DanceGenerator, music: Path, tmp_path: Path) -> None:
    legacy = replace(generator, style_mode="legacy")
    songs = find_music(music)[:2]
    table, _ = extract_music(legacy, songs, Extraction(), tmp_path)
    np.testing.assert_allclose(table.style[1], legacy.style(features(load_song(songs[1].path))), rtol=1e-4, atol=1e-6)


def test_the_draws_have_their_mean_and_spread(generator: DanceGenerator, song_features: np.ndarray) -> None:
    song = ("s", "g", "", song_features)
    table = encode_songs(generator, [song], Extraction(n_draws=4000, n_noise=4000))[0]
    error = 5 * table.draws[0].std(0) / np.sqrt(4000)
    assert (np.abs(table.draws[0].mean(0) - table.mu[0]) < 2 * error).all()
    np.testing.assert_allclose(table.draws[0].std(0), np.sqrt(table.sigma[0] ** 2 + table.spread[0] ** 2), rtol=0.15)
    twin = encode_songs(generator, [song, ("t", "g", "", song_features)], Extraction())
    assert np.array_equal(twin[0].mu, twin[1].mu), "mu averages over the same noise"
    assert not np.allclose(twin[0].draws, twin[1].draws), "draws are every song's own"
    again = encode_songs(generator, [song], Extraction())[0]
    np.testing.assert_allclose(again.draws, twin[0].draws, atol=1e-6)


def test_windows_are_excerpts(generator: DanceGenerator, music: Path, tmp_path: Path) -> None:
    songs = find_music(music)
    table, _ = extract_music(generator, songs, Extraction(window_s=2.0), tmp_path)
    counts = [int((table.song == s.name).sum()) for s in songs[:4]]
    assert counts == [1, 2, 2, 3]
    rows = table.select(table.song == songs[3].name)
    assert rows.start_s.tolist() == [0, 2, 4] and rows.end_s.tolist() == [2, 4, 6]
    x = features(load_song(songs[3].path))[30:60]
    np.testing.assert_allclose(rows.style[1], generator.style(x), rtol=1e-4, atol=1e-6)
    by_song = table.by_song()
    assert len(by_song) == 12
    np.testing.assert_allclose(by_song.mu[by_song.song == songs[3].name][0], rows.mu.mean(0), atol=1e-6)
    with pytest.raises(D2MError, match="2 s or more"):
        Extraction(window_s=1.0)


def test_a_killed_run_goes_on(
    generator: DanceGenerator, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = find_music(music)
    whole, _ = extract_music(generator, songs, Extraction(), tmp_path / "other", batch=4)
    decoded: list[str] = []

    def counting(song: SongFile) -> np.ndarray:
        decoded.append(song.name)
        return song_wave(song)

    def killed(done: int, seconds: float) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    song_wave = extraction.song_wave
    monkeypatch.setattr(extraction, "song_wave", counting)
    with pytest.raises(KeyboardInterrupt):
        extract_music(generator, songs, Extraction(), tmp_path / "cache", killed, batch=4)
    assert len(decoded) == 8
    broken = sorted((tmp_path / "cache").iterdir())[0]
    broken.write_bytes(b"half a file")
    table, _ = extract_music(generator, songs, Extraction(), tmp_path / "cache", batch=4)
    assert len(decoded) == 8 + 4 + 1
    for name in ("mu", "sigma", "spread", "draws", "style"):
        np.testing.assert_allclose(getattr(table, name), getattr(whole, name), atol=1e-6)
    assert table.song.tolist() == whole.song.tolist()
    # Nothing is decoded again; another seed is another request.
    extract_music(generator, songs, Extraction(), tmp_path / "cache")
    assert len(decoded) == 13
    extract_music(generator, songs[:1], Extraction(seed=1), tmp_path / "cache")
    assert len(decoded) == 14


def test_unreadable_songs_are_left_out_and_named(generator: DanceGenerator, music: Path, tmp_path: Path) -> None:
    root = tmp_path / "m"
    shutil.copytree(music / "tango", root / "tango")
    (root / "tango" / "broken.mp3").write_bytes(b"no sound")
    table, bad = extract_music(generator, find_music(root), Extraction(), tmp_path / "c")
    assert len(table) == 4 and len(bad) == 1 and "broken.mp3" in bad[0] and table.meta["skipped"] == bad
    with pytest.raises(D2MError, match="none of 1 songs"):
        extract_music(generator, [SongFile("x", "g", root / "tango" / "broken.mp3")], Extraction(), tmp_path / "c")


def test_where_songs_come_from(music: Path, tmp_path: Path) -> None:
    listed = tmp_path / "songs.csv"
    (tmp_path / "x.wav").write_bytes(b"")
    listed.write_text("audio,genre,name\nx.wav,waltz,one\n")
    assert find_music(listed) == [SongFile("one", "waltz", tmp_path / "x.wav")]
    assert find_music(music)[0].name == "chacha/song 0.wav"
    listed.write_text("audio,genre\nx.wav,\n")
    for bad, message in ((listed, "audio and genre"), (tmp_path / "none", "no such"), (tmp_path, "no song")):
        with pytest.raises(D2MError, match=message):
            find_music(bad)
    listed.write_text("audio,genre\nx.wav,a\nx.wav,b\n")
    with pytest.raises(D2MError, match="listed twice"):
        find_music(listed)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = str(tmp_path_factory.mktemp("corpora"))
    return Corpus.open(prepare_embedded(root, 4, 16.0, yaws=(0.0, 90.0), front_end="mfcc"))


def test_both_sides_of_a_corpus(generator: DanceGenerator, corpus: Corpus) -> None:
    music = extract_corpus_music(generator, corpus, Extraction())
    dance = extract_dance(generator, corpus, Extraction(), max_sequences=6)
    assert set(dance.song) == set(music.song) == {r.name for r in corpus.recordings}
    assert dance.mu.shape == (len(music), 8) and np.isfinite(dance.mu).all() and dance.style.shape == (len(music), 0)
    assert music.meta["side"] == "music" and dance.meta["side"] == "dance"
    # One recording by hand: the dance encoder on (mu, logvar) of three consecutive units.
    i = int(np.flatnonzero([r.name == dance.song[0] for r in corpus.recordings])[0])
    starts = corpus.sequence_starts(corpus.recordings[i].split)
    starts = starts[corpus.unit_recording[starts] == i]
    starts = starts[np.linspace(0, len(starts) - 1, min(6, len(starts))).round().astype(int)]
    units = torch.from_numpy(generator.normalizer.normalize_poses(corpus.units[starts[:, None] + np.arange(3)]))
    movements = generator.net.movement_encoder(units.flatten(0, 1)).reshape(len(starts), 3)
    z = generator.net.dance_encoder(movements.parameters_cat())
    np.testing.assert_allclose(dance.mu[0], z.mu.mean(0), rtol=1e-4, atol=1e-6)
    assert retrieval(music.mu, dance.mu)["R@1"]["value"] < 0.5, "untrained networks find nothing"
    with pytest.raises(D2MError, match="'mfcc', the bundle needs 'legacy'"):
        extract_corpus_music(replace(generator, front_end="legacy"), corpus, Extraction())


def test_tables_survive_the_disk(generator: DanceGenerator, song_features: np.ndarray, tmp_path: Path) -> None:
    table = encode_songs(generator, [("ünï 'song'", "g", "train", song_features)], Extraction())[0]
    again = LatentTable.load(table.save(tmp_path / "a b" / "t.npz"))
    for name in ("song", "genre", "split", "mu", "draws", "style", "start_s"):
        assert np.array_equal(getattr(again, name), getattr(table, name))
    (tmp_path / "x.npz").write_bytes(b"no")
    np.savez(tmp_path / "y.npz", a=1)
    for bad in ("x.npz", "y.npz", "none.npz"):
        with pytest.raises(D2MError, match="not a readable latents file"):
            LatentTable.load(tmp_path / bad)
