"""Audio files in, features out: decoding, bad files, the clock, and the numbers of both front ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from d2m.core.errors import D2MError
from d2m.core.skeleton import FEATURE_DIM, HOP, SAMPLE_RATE
from d2m.music import audio
from d2m.music.legacy_front_end import legacy_features

SHARED = Path(os.environ.get("D2M_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))


def tone(seconds: float = 3.0, rate: int = 44100, hz: float = 440.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def music(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Tones that come and go over noise, at 22,050 Hz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (110.0, 330.0, 1500.0, 5000.0))
    return (0.1 * chord * (1 + np.sin(2 * np.pi * 1.7 * t)) + 0.02 * rng.standard_normal(len(t))).astype("f4")


def encode(path: Path, codec: str, samples: np.ndarray, rate: int, container: str | None = None) -> Path:
    """Write (n, channels) samples with PyAV, time-stamped as real encoders do."""
    import av

    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        for start in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def silent_video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=15)
        stream.width = stream.height = 64
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            for packet in stream.encode(picture):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


# --- decoding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".aac", ".wma"])
def test_every_format_gives_the_same_sound(tmp_path: Path, suffix: str) -> None:
    stereo = np.stack([tone(hz=440), tone(hz=660)], axis=1)
    path = tmp_path / f"a song (1) [x] & y=z{suffix}"
    if suffix in {".m4a", ".aac"}:
        encode(path, "aac", stereo, 44100, "adts" if suffix == ".aac" else None)
    elif suffix == ".wma":
        encode(path, "wmav2", stereo, 44100)
    else:
        soundfile.write(path, stereo, 44100)
    wave = audio.load_song(path)
    assert wave.dtype == np.float32 and wave.ndim == 1
    # Raw aac and wma cannot say where the coder's padding is: up to two blocks, 46 ms each.
    slack = 0 if suffix not in {".aac", ".wma"} else 0.1 * SAMPLE_RATE
    assert abs(len(wave) - 3 * SAMPLE_RATE) <= slack
    if not slack:
        expected = (tone(rate=SAMPLE_RATE, hz=440) + tone(rate=SAMPLE_RATE, hz=660)) / 2
        assert correlation(wave, expected) > 0.999
        assert wave.std() == pytest.approx(expected.std(), rel=0.02)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_resampling_keeps_time_pitch_and_level(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "t.wav", tone(rate=rate, hz=1000), rate, subtype="FLOAT")
    wave = audio.load_audio(tmp_path / "t.wav")
    assert len(wave) == 3 * SAMPLE_RATE
    np.testing.assert_allclose(wave[2000:-2000], tone(rate=SAMPLE_RATE, hz=1000)[2000:-2000], atol=2e-3)


#: Depth of a wav -> what its steps may cost.
DEPTHS = {"PCM_U8": 0.01, "PCM_16": 1e-4, "PCM_24": 1e-4, "PCM_32": 1e-4, "FLOAT": 1e-4, "DOUBLE": 1e-4, "ULAW": 0.02}


@pytest.mark.parametrize("subtype", DEPTHS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wavs_of_every_depth(tmp_path: Path, subtype: str, channels: int) -> None:
    sound = np.repeat(tone(rate=SAMPLE_RATE, hz=500)[:, None], channels, axis=1)
    soundfile.write(path := tmp_path / "t.wav", sound, SAMPLE_RATE, subtype=subtype)
    wave = audio.load_song(path)
    assert len(wave) == len(sound)
    np.testing.assert_allclose(wave, sound[:, 0], atol=DEPTHS[subtype])


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 24000, 32000, 44100, 48000, 88200, 96000])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_every_rate_in_every_container(tmp_path: Path, suffix: str, rate: int) -> None:
    if suffix == ".mp3" and rate > 48000:
        pytest.skip("MPEG audio ends at 48 kHz")
    sound, path = np.repeat(tone(rate=rate, hz=440)[:, None], 2, axis=1), tmp_path / f"t{suffix}"
    if suffix == ".m4a":
        encode(path, "aac", sound, rate)
    else:
        soundfile.write(path, sound, rate)
    wave = audio.load_song(path)
    # A container without a length counts whole blocks of its coder: one of 1,152 samples at most.
    assert abs(len(wave) - 3 * SAMPLE_RATE) <= (0 if suffix in {".wav", ".flac"} else 1152 * SAMPLE_RATE / rate)
    peak = np.abs(np.fft.rfft(wave[: 2 * SAMPLE_RATE] * np.hanning(2 * SAMPLE_RATE))).argmax() / 2
    assert peak == pytest.approx(440, abs=1)
    assert wave[4000:-4000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".m4a"])
def test_surround_sound_in_every_container(tmp_path: Path, suffix: str) -> None:
    six = np.zeros((3 * 48000, 6), np.float32)
    six[:, 0] = tone(rate=48000, hz=440, level=0.6)
    if suffix == ".m4a":
        path = encode(tmp_path / "t.m4a", "aac", six, 48000)
    else:
        soundfile.write(path := tmp_path / f"t{suffix}", six, 48000)
    assert np.abs(audio.load_song(path)[4000:-4000]).max() == pytest.approx(0.1, rel=0.1)


def test_another_rate_on_request(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "t.wav", tone(), 44100)
    assert len(audio.load_audio(tmp_path / "t.wav", sample_rate=44100)) == 3 * 44100


@pytest.mark.parametrize("writer", ["soundfile", "ffmpeg"])
def test_channels_are_averaged(tmp_path: Path, writer: str) -> None:
    six = np.zeros((3 * 44100, 6), np.float32)
    six[:, 4] = tone(level=0.6)
    if writer == "soundfile":
        soundfile.write(path := tmp_path / "six.wav", six, 44100, subtype="FLOAT")
    else:
        path = encode(tmp_path / "six.m4a", "aac", six, 44100)
    wave = audio.load_audio(path)
    assert np.abs(wave[2000:-2000]).max() == pytest.approx(0.1, rel=0.05)


def test_a_song_that_loads_is_long_enough_for_the_style_window(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "t.wav", tone(2.0), 44100)
    assert audio.n_frames(len(audio.load_song(tmp_path / "t.wav"))) == 30


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.wav": (lambda p: None, "no such audio file"),
    "folder.wav": (lambda p: p.mkdir(), "is a folder"),
    "empty.mp3": (lambda p: p.write_bytes(b""), "is empty"),
    "text.wav": (lambda p: p.write_text("not sound " * 500), "corrupt or not audio"),
    "text.mp3": (lambda p: p.write_text("not sound " * 500), "corrupt or not audio"),
    "noise.wav": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(40_000)), "corrupt or not audio"),
    "noise.mp3": (lambda p: p.write_bytes(np.random.default_rng(1).bytes(40_000)), "corrupt or not audio"),
    "noise.ogg": (lambda p: p.write_bytes(np.random.default_rng(2).bytes(40_000)), "corrupt or not audio"),
    "zeros.flac": (lambda p: p.write_bytes(bytes(40_000)), "corrupt or not audio"),
    "video.mp4": (silent_video, "no audio stream"),
    "header.wav": (lambda p: soundfile.write(p, np.zeros((0, 2)), 44100), "no samples"),
    "nan.wav": (
        lambda p: soundfile.write(p, np.r_[tone(), np.nan].astype("f4"), 44100, subtype="FLOAT"),
        "NaN",
    ),
    "inf.wav": (
        lambda p: soundfile.write(p, np.r_[tone(), np.inf].astype("f4"), 44100, subtype="FLOAT"),
        "NaN or inf",
    ),
    "int16 in float.wav": (
        lambda p: soundfile.write(p, tone(level=20_000.0), 44100, subtype="FLOAT"),
        "full scale",
    ),
    "zero.wav": (lambda p: soundfile.write(p, np.zeros(3 * 44100), 44100), "silent"),
    "quiet.wav": (lambda p: soundfile.write(p, tone(level=9e-4), 44100, subtype="FLOAT"), "silent (peak -61"),
    "short.wav": (lambda p: soundfile.write(p, tone(0.2), 44100), "0.20 s"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, name: str, capfd: pytest.CaptureFixture) -> None:
    write, said = BAD_FILES[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(D2MError) as caught:
        audio.load_song(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and said in message and "\n" not in message
    assert capfd.readouterr() == ("", "")  # decoders keep quiet, too


def test_suffixes_are_lower_case_and_cover_the_common_ones() -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".wma"} <= audio.AUDIO_SUFFIXES
    assert all(s.startswith(".") and s == s.lower() for s in audio.AUDIO_SUFFIXES)
    assert not {".txt", ".md", ".mp4", ".npz", ".json", ""} & audio.AUDIO_SUFFIXES


# --- the clock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [2.0, 3.03, 10.0, 61.4588, 182.0734])
def test_frames_of_a_song(seconds: float) -> None:
    n = round(seconds * SAMPLE_RATE)
    assert audio.n_frames(n) == round(n / SAMPLE_RATE * 15)
    assert abs(audio.n_frames(n) / 15 - seconds) <= 0.5 / 15 + 1e-4


@pytest.mark.parametrize("n", [0, 1, 734, 735, 736, 1469, 1470, 2205, 30_001, 44_100, 44_835, 90_405, 91_875])
def test_features_have_exactly_the_frames_of_the_song(n: int) -> None:
    wave = np.random.default_rng(n).standard_normal(n).astype("f4") * 0.1
    rows = audio.features(wave)
    assert rows.shape == (audio.n_frames(n), FEATURE_DIM) and rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert audio.features(wave, "legacy").shape == (n // HOP, FEATURE_DIM)


# --- the mfcc front end ------------------------------------------------------------------------------------


def test_torch_agrees_with_librosa() -> None:
    wave = torch.from_numpy(music())[None]
    torch.testing.assert_close(
        audio.features_batch(wave, "torch"), audio.features_batch(wave, "librosa"), atol=2e-4, rtol=1e-4
    )


def test_the_dct_is_orthonormal_and_is_scipys() -> None:
    from scipy.fft import dct

    expected = dct(np.eye(audio.N_MELS), axis=0, norm="ortho")[: audio.N_CEPSTRA]
    np.testing.assert_allclose(audio._dct(), expected, atol=1e-6)


_TORCHAUDIO = """
import sys, types
import numpy as np, torch
if {stub}:
    stub = types.ModuleType("torchaudio._extension")
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stub.fail_if_no_align = lambda f: f
    stub._load_lib = lambda name: False
    sys.modules["torchaudio._extension"] = stub
from d2m.music import audio
waves = torch.from_numpy(np.load(sys.argv[1]))
np.save(sys.argv[2], audio.features_batch(waves, "torchaudio").numpy())
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
    expected = audio.features_batch(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=2e-4, rtol=1e-4)


def test_a_backend_that_cannot_be_imported_says_so() -> None:
    if _torchaudio_state() == "works":
        pytest.skip("torchaudio imports here")
    with pytest.raises(D2MError, match="use 'torch'"):
        audio.features_batch(torch.zeros(1, 3 * HOP), "torchaudio")


def test_loudness_moves_only_the_first_cepstrum_and_the_energy() -> None:
    wave = music()
    loud, soft = audio.features(wave), audio.features(0.1 * wave)
    moved = loud - soft
    gain = 2 * np.log(10.0)  # of the power, in nepers
    np.testing.assert_allclose(moved[:, 0], gain * np.sqrt(audio.N_MELS), rtol=1e-4)
    np.testing.assert_allclose(moved[:, 13], gain, rtol=1e-4)
    np.testing.assert_allclose(moved[:, 1:13], 0, atol=2e-3)
    np.testing.assert_allclose(moved[:, 14:], 0, atol=3e-3)


def test_digital_silence_looks_like_the_noise_of_16_bits() -> None:
    rng = np.random.default_rng(0)
    hiss = (rng.uniform(-0.5, 0.5, 60 * HOP) / 32768).astype("f4")
    silence, noise = audio.features(np.zeros(60 * HOP)), audio.features(hiss)
    assert silence[10, 13] == pytest.approx(noise[5:-5, 13].mean(), abs=0.1)
    assert silence[10, 0] / np.sqrt(40) == pytest.approx(noise[5:-5, 0].mean() / np.sqrt(40), abs=0.6)
    assert np.ptp(silence, axis=0).max() == 0


def test_energy_is_the_log_mean_square() -> None:
    rows = audio.features(tone(rate=SAMPLE_RATE, level=0.5))
    np.testing.assert_allclose(rows[2:-2, 13], np.log(0.5**2 / 2), atol=1e-3)


def test_the_second_half_is_the_change_since_the_frame_before() -> None:
    rows = audio.features(music())
    assert (rows[0, 14:] == 0).all()
    np.testing.assert_allclose(rows[1:, 14:], np.diff(rows[:, :14], axis=0), atol=1e-5)


def test_a_frame_sees_its_own_moment() -> None:
    """A click at sample 1470 k is loudest in frame k: the features are on the dance's clock."""
    for k in (3, 10, 29):
        wave = np.zeros(40 * HOP, np.float32)
        wave[k * HOP] = 0.9
        assert audio.features(wave)[:, 13].argmax() == k


def test_an_excerpt_has_the_features_of_the_whole() -> None:
    wave = music()
    whole, excerpt = audio.features(wave), audio.features(wave[10 * HOP : 50 * HOP])
    np.testing.assert_allclose(excerpt[2:-2], whole[12:48], atol=1e-3)


def test_a_batch_is_its_songs() -> None:
    songs = np.stack([music(seed=s) for s in range(3)])
    together = audio.features_batch(torch.from_numpy(songs)).numpy()
    np.testing.assert_allclose(together, np.stack([audio.features(song) for song in songs]), atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_numbers() -> None:
    waves = torch.from_numpy(music())[None]
    torch.testing.assert_close(
        audio.features_batch(waves.cuda()).cpu(), audio.features_batch(waves), atol=1e-3, rtol=1e-3
    )


def test_the_input_is_left_alone() -> None:
    wave = music()
    before = wave.copy()
    for front_end in audio.FRONT_ENDS:
        audio.features(wave, front_end)
    np.testing.assert_array_equal(wave, before)


def test_unknown_names_and_wrong_shapes() -> None:
    with pytest.raises(D2MError, match="mfcc, legacy"):
        audio.features(music(), "mel")
    with pytest.raises(D2MError, match="torch, torchaudio, librosa"):
        audio.features_batch(torch.zeros(1, HOP), "essentia")
    with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
        audio.features(np.zeros((2, 10)))
    with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
        legacy_features(np.zeros((2, 10)))


# --- the legacy front end ----------------------------------------------------------------------------------


def test_legacy_constant_input_by_hand() -> None:
    """Energy of a constant is known, and a steady sound has no differences."""
    rows = legacy_features(np.full(10 * HOP, 1000, np.int16))
    assert rows.shape == (10, FEATURE_DIM) and rows.dtype == np.float64
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
    np.testing.assert_array_equal(
        audio.features(pcm / np.float32(32768), "legacy"), legacy_features(pcm).astype(np.float32)
    )
    assert np.isfinite(audio.features(np.full(5 * HOP, 1.5), "legacy")).all()  # clipped, not wrapped


# --- real songs --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "data/music").is_dir(), reason=f"no real music at {SHARED / 'data/music'}")
def test_real_songs_load_and_have_features() -> None:
    files = [f for f in sorted((SHARED / "data/music").iterdir()) if f.suffix.lower() in audio.AUDIO_SUFFIXES]
    assert files
    for file in files:
        wave = audio.load_song(file)
        rows = audio.features(wave)
        assert len(rows) == audio.n_frames(len(wave)) > 400 and np.isfinite(rows).all()
        assert rows.std(axis=0).min() > 0.05


def test_importing_is_quick() -> None:
    """`--help` must not wait for torch or librosa."""
    code = "import sys, d2m.music.audio, d2m.music.beats; assert not {'torch', 'librosa', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
