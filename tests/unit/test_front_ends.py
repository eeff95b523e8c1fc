"""Front ends: the registry, and the features of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from waves import music, tone

from d2m.core.errors import D2MError
from d2m.core.skeleton import HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.front_ends import FRONT_ENDS, FrontEnd, features, front_end, mfcc
from d2m.music.front_ends.legacy import legacy_features
from d2m.music.front_ends.mfcc import N_CEPSTRA, N_MELS, _dct, mfcc_batch


@pytest.mark.parametrize("n", [0, 1, 734, 735, 736, 1469, 1470, 2205, 30_001, 44_100, 44_835, 90_405, 91_875])
def test_features_have_exactly_the_frames_of_the_song(n: int) -> None:
    wave = np.random.default_rng(n).standard_normal(n).astype("f4") * 0.1
    rows = features(wave)
    assert rows.shape == (n_frames(n), 28) and rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert features(wave, "legacy").shape == (n // HOP, 28)


# --- the door ------------------------------------------------------------------------------------------------


def test_every_front_end_says_what_it_hears() -> None:
    wave = music()
    assert {"mfcc", "mfcc_loudness", "legacy"} < set(FRONT_ENDS)
    for name, hears in FRONT_ENDS.items():
        rows = hears.features(wave)
        assert hears.name == name and front_end(name) is hears
        assert rows.shape[1] == hears.width == len(set(hears.columns)) and rows.dtype == np.float32
        np.testing.assert_array_equal(rows, features(wave, name))
        assert json.loads(json.dumps(hears.params)) == hears.params
        with pytest.raises(AttributeError):
            hears.name = "other"  # type: ignore[misc]
    assert FRONT_ENDS["mfcc"].columns[13] == "log_energy" and FRONT_ENDS["legacy"].columns[27] == "log_energy_step"


@pytest.mark.parametrize("name", ["mfcc", "legacy"])
def test_no_sound_beyond_its_context_matters(name: str) -> None:
    """A burst changes rows within ``context_s`` of it and no other; at the context's end it does change one."""
    hears, wave = FRONT_ENDS[name], music()
    first, last = 30 * HOP + 100, 30 * HOP + 140
    other = wave.copy()
    other[first:last] += 0.5
    changed = np.flatnonzero((hears.features(wave) != hears.features(other)).any(axis=1)) / 15
    assert changed.min() >= first / SAMPLE_RATE - hears.context_s - 1e-9
    assert changed.max() <= last / SAMPLE_RATE + hears.context_s + 1e-9
    assert hears.context_s < 0.2 and len(changed) >= 2


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_finite_on_odd_sounds(name: str) -> None:
    click = np.zeros(3 * SAMPLE_RATE, np.float32)
    click[SAMPLE_RATE] = 0.9
    noise = 0.5 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype("f4")
    for wave in (0 * click, click, noise, music(0.5)):
        assert np.isfinite(features(wave, name)).all()


@pytest.mark.parametrize("frames", [1, 7, 100])
def test_mfcc_hears_a_few_frames_at_a_time(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that 2 h need no more memory than a minute; torch's is not traced, so the sounds are measured."""
    expected, heard = features(music()), []

    def listen(waves: torch.Tensor) -> torch.Tensor:
        heard.append(waves.shape[1])
        return mfcc_batch(waves)

    monkeypatch.setattr(mfcc, "_BLOCK", frames)
    monkeypatch.setattr(mfcc, "mfcc_batch", listen)
    np.testing.assert_allclose(features(music()), expected, atol=1e-4)
    assert max(heard) <= (frames + 3) * HOP


def test_a_front_end_keeps_its_word_about_its_width() -> None:
    liar = FrontEnd("liar", ("a", "b"), 0.0, lambda wave: np.zeros((len(wave) // HOP, 3)))
    with pytest.raises(ValueError, match="'liar' gave"):
        liar.features(music())


# --- the mfcc front end ------------------------------------------------------------------------------------


def test_torch_agrees_with_librosa() -> None:
    wave = torch.from_numpy(music())[None]
    torch.testing.assert_close(mfcc_batch(wave, "torch"), mfcc_batch(wave, "librosa"), atol=2e-4, rtol=1e-4)


def test_the_dct_is_orthonormal_and_is_scipys() -> None:
    from scipy.fft import dct

    expected = dct(np.eye(N_MELS), axis=0, norm="ortho")[:N_CEPSTRA]
    np.testing.assert_allclose(_dct(), expected, atol=1e-6)


_TORCHAUDIO = """
import sys, types
import numpy as np, torch
if {stub}:
    stub = types.ModuleType("torchaudio._extension")
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stub.fail_if_no_align = lambda f: f
    stub._load_lib = lambda name: False
    sys.modules["torchaudio._extension"] = stub
from d2m.music.front_ends.mfcc import mfcc_batch
waves = torch.from_numpy(np.load(sys.argv[1]))
np.save(sys.argv[2], mfcc_batch(waves, "torchaudio").numpy())
"""


def _torchaudio_state() -> str:
    try:
        import torchaudio  # noqa: F401
    except ModuleNotFoundError:
        return "absent"
    except (ImportError, OSError):
        return "broken"
    return "works"


def test_torch_agrees_with_torchaudio(tmp_path: Path) -> None:
    """In a subprocess; where torchaudio's compiled extension does not load, without it (it is not used)."""
    state = _torchaudio_state()
    if state == "absent":
        pytest.skip("torchaudio is not installed")
    waves = np.stack([music(3.0), 0.01 * music(3.0, seed=1)])
    np.save(tmp_path / "waves.npy", waves)
    code = _TORCHAUDIO.format(stub=state == "broken")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
        str(tmp_path / "waves.npy"),
        str(tmp_path / "out.npy"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = mfcc_batch(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=2e-4, rtol=1e-4)


def test_a_backend_that_cannot_be_imported_says_so() -> None:
    if _torchaudio_state() == "works":
        pytest.skip("torchaudio imports here")
    with pytest.raises(D2MError, match="use 'torch'"):
        mfcc_batch(torch.zeros(1, 3 * HOP), "torchaudio")


def test_loudness_moves_only_the_first_cepstrum_and_the_energy() -> None:
    wave = music()
    loud, soft = features(wave), features(0.1 * wave)
    moved = loud - soft
    gain = 2 * np.log(10.0)  # of the power, in nepers
    np.testing.assert_allclose(moved[:, 0], gain * np.sqrt(N_MELS), rtol=1e-4)
    np.testing.assert_allclose(moved[:, 13], gain, rtol=1e-4)
    np.testing.assert_allclose(moved[:, 1:13], 0, atol=2e-3)
    np.testing.assert_allclose(moved[:, 14:], 0, atol=3e-3)


def test_digital_silence_looks_like_the_noise_of_16_bits() -> None:
    rng = np.random.default_rng(0)
    hiss = (rng.uniform(-0.5, 0.5, 60 * HOP) / 32768).astype("f4")
    silence, noise = features(np.zeros(60 * HOP)), features(hiss)
    assert silence[10, 13] == pytest.approx(noise[5:-5, 13].mean(), abs=0.1)
    assert silence[10, 0] / np.sqrt(40) == pytest.approx(noise[5:-5, 0].mean() / np.sqrt(40), abs=0.6)
    assert np.ptp(silence, axis=0).max() == 0


def test_energy_is_the_log_mean_square() -> None:
    rows = features(tone(rate=SAMPLE_RATE, level=0.5))
    np.testing.assert_allclose(rows[2:-2, 13], np.log(0.5**2 / 2), atol=1e-3)


def test_the_second_half_is_the_change_since_the_frame_before() -> None:
    rows = features(music())
    assert (rows[0, 14:] == 0).all()
    np.testing.assert_allclose(rows[1:, 14:], np.diff(rows[:, :14], axis=0), atol=1e-5)


def test_a_frame_sees_its_own_moment() -> None:
    """A click at sample 1470 k is loudest in frame k: the features are on the dance's clock."""
    for k in (3, 10, 29):
        wave = np.zeros(40 * HOP, np.float32)
        wave[k * HOP] = 0.9
        assert features(wave)[:, 13].argmax() == k


def test_an_excerpt_has_the_features_of_the_whole() -> None:
    wave = music()
    whole, excerpt = features(wave), features(wave[10 * HOP : 50 * HOP])
    np.testing.assert_allclose(excerpt[2:-2], whole[12:48], atol=1e-3)


def test_a_batch_is_its_songs() -> None:
    songs = np.stack([music(seed=s) for s in range(3)])
    together = mfcc_batch(torch.from_numpy(songs)).numpy()
    np.testing.assert_allclose(together, np.stack([features(song) for song in songs]), atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_numbers() -> None:
    waves = torch.from_numpy(music())[None]
    torch.testing.assert_close(mfcc_batch(waves.cuda()).cpu(), mfcc_batch(waves), atol=1e-3, rtol=1e-3)


def test_the_input_is_left_alone() -> None:
    wave = music()
    before = wave.copy()
    for name in FRONT_ENDS:
        features(wave, name)
    np.testing.assert_array_equal(wave, before)


def test_unknown_names_and_wrong_shapes() -> None:
    with pytest.raises(
        D2MError, match=r"no front end 'mel'; choose from .*legacy, mfcc, mfcc_loudness, .*embedding, onnx"
    ):
        features(music(), "mel")
    with pytest.raises(D2MError, match="torch, torchaudio, librosa"):
        mfcc_batch(torch.zeros(1, HOP), "essentia")
    with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
        features(np.zeros((2, 10)))
    with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
        legacy_features(np.zeros((2, 10)))


# --- the legacy front end ----------------------------------------------------------------------------------


def test_legacy_constant_input_by_hand() -> None:
    """Energy of a constant is known, and a steady sound has no differences."""
    rows = legacy_features(np.full(10 * HOP, 1000, np.int16))
    assert rows.shape == (10, 28) and rows.dtype == np.float64
    np.testing.assert_allclose(rows[:, 13], np.log(1 + 1000.0**2), rtol=1e-12)
    assert (rows[1:-1, 14:27] == 0).all()  # frame 0 starts from nothing; the last, empty, frame is silence
    assert rows[-1, 27] == pytest.approx(-np.log(1 + 1000.0**2))


def test_legacy_silence_is_the_floor() -> None:
    rows = legacy_features(np.zeros(5 * HOP))
    # (1 / 40) (1/2 + 39) ln 1e-5: the first filter counts half.
    np.testing.assert_allclose(rows[:, 0], np.log(1e-5) * 39.5 / 40, rtol=1e-12)
    assert (rows[:, 14:] == 0).all()


def test_legacy_short_last_frame_repeats() -> None:
    rng = np.random.default_rng(0)
    head, rest = rng.integers(-9999, 9999, 4 * HOP), rng.integers(-9999, 9999, 490)
    short = legacy_features(np.concatenate([head, rest]))
    spelled_out = legacy_features(np.concatenate([head, np.tile(rest, 3)]))
    np.testing.assert_array_equal(short, spelled_out[:4])


def test_legacy_takes_float_waves_on_the_int16_scale() -> None:
    pcm = np.random.default_rng(0).integers(-32768, 32768, 5 * HOP).astype(np.int16)
    np.testing.assert_array_equal(features(pcm / np.float32(32768), "legacy"), legacy_features(pcm).astype(np.float32))
    assert np.isfinite(features(np.full(5 * HOP, 1.5), "legacy")).all()  # clipped, not wrapped
