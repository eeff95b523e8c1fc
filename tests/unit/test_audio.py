"""Audio files in: decoding, bad files, the clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from waves import tone

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music import audio
from d2m.music.front_ends import features

SHARED = Path(os.environ.get("D2M_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))


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
    "header.wav": (lambda p: soundfile.write(p, np.zeros((0, 2)), 44100), "no audio samples"),
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


# --- real songs --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "data/music").is_dir(), reason=f"no real music at {SHARED / 'data/music'}")
def test_real_songs_load_and_have_features() -> None:
    files = [f for f in sorted((SHARED / "data/music").iterdir()) if f.suffix.lower() in audio.AUDIO_SUFFIXES]
    assert files
    for file in files:
        wave = audio.load_song(file)
        rows = features(wave)
        assert len(rows) == audio.n_frames(len(wave)) > 400 and np.isfinite(rows).all()
        assert rows.std(axis=0).min() > 0.05
