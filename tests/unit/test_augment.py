"""Changes of features against the features of the changed sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import firwin2
from waves import music

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.audio import load_audio
from d2m.music.front_ends import FRONT_ENDS, features, front_end
from d2m.music.front_ends.augment import Change, change_rows, draw_change, roll, shift
from d2m.music.transforms import change_pitch, change_tempo
from d2m.toy.write import make_pair

ANSWERING = ["mfcc", "mfcc_loudness", "aist35", "rhythm"]
# Columns of `rhythm`, and the same of `aist35`.
FIRST, CEPSTRA, ENERGY, TEMPI, ONSETS, CHROMA = 0, range(1, 13), 13, range(28, 172), range(172, 176), range(176, 188)

RANGES = {"semitones": 4, "tempo": 1.1, "gain_db": 9.0, "attack": 1.5, "eq_db": 3.0}


def change(
    n: int = 1, semitones: float = 0.0, tempo: float = 1.0, gain_db: float = 0.0, eq_db: tuple[float, ...] = (0.0,)
) -> Change:
    """The same for n windows."""
    one = torch.ones(n)
    return Change(semitones * one, tempo * one, gain_db * one, one, torch.tensor(eq_db).expand(n, -1))


def changed(name: str, rows: np.ndarray, to: Change, frames: int | None = None) -> np.ndarray:
    """A song's features (t, f) as one window."""
    return change_rows(front_end(name), torch.from_numpy(rows)[None], to, frames)[0].numpy()


def explained(edited: np.ndarray, predicted: np.ndarray, before: np.ndarray) -> float:
    """Share of the change that is foreseen: 1 is all of it; 0 is as good as no change; a wrong sign is below."""
    return 1 - float(np.square(edited - predicted).sum() / np.square(edited - before).sum())


@pytest.fixture(scope="module", params=["toy", "ballroom"])
def song(request: pytest.FixtureRequest) -> np.ndarray:
    """20 s, with beats and harmony."""
    if request.param == "toy":
        return make_pair("groove", 20.0, np.random.default_rng(0))[0].wave
    folder: Path = request.getfixturevalue("shared_folder")
    return load_audio(folder / "data/ballroom/audio/DANCE_C_1.ogg")[20 * SAMPLE_RATE : 40 * SAMPLE_RATE]


# --- against the sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain_db", [-9.0, 9.0])
@pytest.mark.parametrize("name", ANSWERING)
def test_a_gain_is_exact(name: str, gain_db: float) -> None:
    wave = music(12.0)
    loud = features(wave * np.float32(10 ** (gain_db / 20)), name)
    np.testing.assert_allclose(changed(name, features(wave, name), change(gain_db=gain_db)), loud, atol=2e-2)


def test_an_equaliser_moves_cepstra_and_energy() -> None:
    wave, curve = music(12.0), (4.0, -3.0, 2.0, 1.0)
    hz = np.linspace(0, SAMPLE_RATE / 2, 1025)
    mel = np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))
    decibels = sum(e * np.cos(np.pi * (k + 1) * mel / mel[-1]) for k, e in enumerate(curve))
    edited = np.convolve(wave, firwin2(2047, hz, 10 ** (decibels / 20), fs=SAMPLE_RATE), "same").astype("f4")
    inner = slice(4, -4)
    for name, columns, least in (
        ("mfcc", range(1, 13), 0.95),
        ("mfcc", [13], 0.8),
        ("mfcc_loudness", range(13), 0.9),
        ("aist35", range(1, 6), 0.9),
    ):
        before, after = features(wave, name), features(edited, name)
        rows = (after, changed(name, before, change(eq_db=curve)), before)
        assert explained(*(r[inner, list(columns)] for r in rows)) > least, (name, columns)


@pytest.mark.parametrize("semitones", [-4.0, 4.0])
def test_transposition(song: np.ndarray, semitones: float) -> None:
    edited = change_pitch(song, semitones)
    for name, cepstra, chroma in (("rhythm", CEPSTRA, CHROMA), ("aist35", range(2, 21), range(21, 33))):
        before, after = features(song, name), features(edited, name)
        predicted = changed(name, before, change(semitones=semitones))
        for columns, least in ((cepstra, 0.4), (chroma, 0.8)):
            columns = list(columns)
            assert explained(after[:, columns], predicted[:, columns], before[:, columns]) > least, (name, columns)
        if name == "rhythm":
            np.testing.assert_array_equal(predicted[:, [*TEMPI, *ONSETS]], before[:, [*TEMPI, *ONSETS]])


@pytest.mark.parametrize("tempo", [0.9, 1.1])
def test_tempo(song: np.ndarray, tempo: float) -> None:
    before, after = features(song, "rhythm"), features(change_tempo(song, tempo), "rhythm")
    still = changed("rhythm", before, change(), len(after))
    predicted = changed("rhythm", before, change(tempo=tempo), len(after))
    inner = np.ix_(range(70, len(after) - 70), TEMPI)
    at_the_time = before[np.rint(np.arange(len(after)) * tempo).astype(int).clip(0, len(before) - 1)]
    assert explained(after[inner], predicted[inner], at_the_time[inner]) > 0.7
    # Onsets are where they are in the faster song.
    loudest = [rows[:, ONSETS][70:-70, 0] for rows in (after, predicted, still)]
    assert np.corrcoef(loudest[0], loudest[1])[0, 1] > 0.5 > np.corrcoef(loudest[0], loudest[2])[0, 1] + 0.2


# --- by hand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANSWERING)
def test_no_change_is_none(name: str) -> None:
    rows = torch.randn(3, 30, front_end(name).width, generator=torch.Generator().manual_seed(0))
    before = rows.clone()
    torch.testing.assert_close(change_rows(front_end(name), rows, change(3)), rows, atol=1e-4, rtol=1e-4)
    change_rows(front_end(name), rows, draw_change(3, torch.Generator().manual_seed(0), **RANGES))
    assert torch.equal(rows, before)


def test_each_window_has_its_own_change() -> None:
    rows = torch.randn(4, 34, 188, generator=torch.Generator().manual_seed(0))
    drawn = draw_change(4, torch.Generator().manual_seed(1), **RANGES)
    together = change_rows(front_end("rhythm"), rows, drawn, 30)
    assert together.shape == (4, 30, 188)
    for k in range(4):
        own = Change(*(part[k : k + 1] for part in drawn))
        alone = change_rows(front_end("rhythm"), rows[k : k + 1], own, 30)
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tempo", [0.9, 1.0, 1.1])
def test_rows_are_read_around_the_middle(tempo: float) -> None:
    ramp = torch.arange(34.0)[None, :, None].expand(1, -1, 35)
    read = change_rows(front_end("aist35"), ramp, change(tempo=tempo), 30)[0, :, 34]
    torch.testing.assert_close(read, 16.5 + tempo * (torch.arange(30) - 14.5), atol=0.51, rtol=0)
    held = change_rows(front_end("aist35"), ramp, change(tempo=2.0))[0, :, 34]
    assert held[0] == 0 and held[-1] == 33


def test_columns_move_by_steps() -> None:
    rows = torch.rand(2, 5, 12, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([3.0, -2.0])
    expected = torch.stack([rows[0].roll(3, -1), rows[1].roll(-2, -1)])
    torch.testing.assert_close(roll(rows, steps), expected)
    torch.testing.assert_close(shift(rows, steps)[0, :, 3:], rows[0, :, :-3])
    torch.testing.assert_close(shift(rows, steps)[0, :, :3], rows[0, :, :1].expand(-1, 3))
    torch.testing.assert_close(shift(rows, steps)[1, :, :-2], rows[1, :, 2:])
    half = roll(rows, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(half, (rows + rows.roll(1, -1)) / 2)


def test_draws() -> None:
    one, same, other = (draw_change(500, torch.Generator().manual_seed(s), **RANGES) for s in (0, 0, 1))
    assert torch.equal(one.tempo, same.tempo) and torch.equal(one.eq_db, same.eq_db)
    assert not torch.equal(one.tempo, other.tempo)
    assert sorted(set(one.semitones.tolist())) == list(range(-4, 5))
    for part, low, high in ((one.tempo, 1 / 1.1, 1.1), (one.gain_db, -9, 9), (one.attack, 1 / 1.5, 1.5)):
        assert low <= part.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < part.max() <= high
    assert 2.7 < one.eq_db[:, 0].std() < 3.3 and 0.65 < one.eq_db[:, 3].std() < 0.85
    none = draw_change(9, torch.Generator().manual_seed(0), 0, 1.0, 0.0, 1.0, 0.0)
    rows = torch.randn(9, 30, 188, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(change_rows(front_end("rhythm"), rows, none), rows, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ANSWERING)
def test_silence_stays_finite(name: str) -> None:
    rows = torch.from_numpy(features(np.zeros(3 * SAMPLE_RATE, np.float32), name))[None, :30].expand(64, -1, -1)
    drawn = draw_change(64, torch.Generator().manual_seed(0), **RANGES)
    assert change_rows(front_end(name), rows, drawn).isfinite().all()


@pytest.mark.parametrize("name", ["legacy", "embedding:4@15"])
def test_who_cannot_say_refuses(name: str) -> None:
    with pytest.raises(D2MError, match=f"front end '{name}' cannot be augmented"):
        change_rows(front_end(name), torch.zeros(1, 30, front_end(name).width), change())
    assert set(ANSWERING) == {n for n, hears in FRONT_ENDS.items() if hears.answer is not None}


def test_shapes_that_do_not_fit() -> None:
    for rows, n in ((torch.zeros(2, 30, 28), 1), (torch.zeros(1, 30, 27), 1), (torch.zeros(30, 28), 30)):
        with pytest.raises(ValueError, match="change_rows"):
            change_rows(front_end("mfcc"), rows, change(n))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ANSWERING)
def test_the_gpu_gives_the_same_numbers(name: str) -> None:
    rows = torch.randn(8, 34, front_end(name).width, generator=torch.Generator().manual_seed(0))
    drawn = draw_change(8, torch.Generator().manual_seed(1), **RANGES)
    on_gpu = change_rows(front_end(name), rows.cuda(), drawn, 30).cpu()
    torch.testing.assert_close(on_gpu, change_rows(front_end(name), rows, drawn, 30), atol=1e-3, rtol=1e-3)
