"""The sound of a video is the song's own, cut or followed by silence."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from d2m.core.errors import D2MError
from d2m.music.audio import load_audio
from d2m.music.sound import open_sound

RATE = 22050


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(n, channels), smooth enough to survive coders."""
    white = np.random.default_rng(seed).normal(size=(round(seconds * rate), channels))
    smooth = np.apply_along_axis(np.convolve, 0, white, np.hanning(24), "same")
    return (0.5 * smooth / np.abs(smooth).max()).astype(np.float32)


def whole(sound, n: int | None = None) -> np.ndarray:
    return np.concatenate(list(sound.blocks(n)), axis=1)


def encode(path: Path, wave: np.ndarray, rate: int, codec: str, kbps: int = 160) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout="mono" if wave.shape[1] == 1 else "stereo")
        stream.bit_rate = kbps * 1000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.pts = rate, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("channels", [1, 2])
def test_a_waveform_comes_back_as_it_is(channels: int) -> None:
    wave = noise(4, channels=channels)  # longer than a block
    sound = open_sound(wave if channels == 2 else wave[:, 0], RATE)
    assert (sound.channels, sound.rate, sound.n_samples, sound.seconds) == (channels, RATE, len(wave), 4.0)
    assert np.array_equal(whole(sound), wave.T) and np.array_equal(whole(sound), wave.T)
    assert all(b.dtype == np.float32 and b.flags.c_contiguous for b in sound.blocks())
    assert open_sound(sound) is sound


@pytest.mark.parametrize("n", [1, 1000, 70_000, 88_200, 100_000, 200_000])
def test_sound_is_cut_or_followed_by_silence(n: int) -> None:
    wave = noise(4)
    out = whole(open_sound(wave, RATE), n)[0]
    assert len(out) == n
    kept = min(n, len(wave))
    assert np.array_equal(out[:kept], wave[:kept, 0]) and not out[kept:].any()


def test_samples_beyond_full_scale_or_unknown_are_tamed() -> None:
    out = whole(open_sound(np.array([0.5, np.nan, 7.0, -np.inf, -0.25]), RATE))[0]
    assert out.tolist() == [0.5, 0.0, 1.0, -1.0, -0.25]


@pytest.mark.parametrize(("suffix", "channels", "rate"), [(".wav", 2, 44100), (".flac", 1, 22050), (".ogg", 2, 48000)])
def test_a_file_has_its_own_rate_and_channels(tmp_path: Path, suffix: str, channels: int, rate: int) -> None:
    wave = noise(1, rate, channels)
    sf.write(tmp_path / f"a{suffix}", wave, rate)
    sound = open_sound(tmp_path / f"a{suffix}")
    assert (sound.channels, sound.rate, sound.n_samples) == (channels, rate, rate)
    for own, played in zip(wave.T, whole(sound), strict=True):
        assert np.corrcoef(own, played)[0, 1] > 0.98


def test_more_than_two_channels_become_their_mean(tmp_path: Path) -> None:
    wave = noise(0.5, channels=6)
    sf.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    for audio in (tmp_path / "a.wav", wave):
        sound = open_sound(audio, RATE)
        assert sound.channels == 1
        assert np.allclose(whole(sound)[0], wave.mean(1), atol=1e-6)


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac")])
def test_compressed_files_are_as_long_and_in_time_as_the_model_hears_them(
    tmp_path: Path, name: str, codec: str
) -> None:
    wave = noise(3, 44100, 2)
    file = encode(tmp_path / name, wave, 44100, codec)
    sound = open_sound(file)
    assert (sound.rate, sound.channels) == (44100, 2)
    assert sound.seconds == pytest.approx(len(load_audio(file)) / RATE, abs=1e-3)
    out = whole(sound)
    assert out.shape == (2, sound.n_samples)
    n = min(len(wave), out.shape[1])
    assert np.corrcoef(out[0, :n], wave[:n, 0])[0, 1] > 0.95  # no delay
    assert abs(np.corrcoef(out[0, :n], wave[:n, 1])[0, 1]) < 0.2  # left is left


def test_broken_packets_are_left_out_as_the_model_leaves_them_out(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp3", noise(4, 44100), 44100, "libmp3lame")
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    file.write_bytes(data)
    assert open_sound(file).seconds == pytest.approx(len(load_audio(file)) / RATE, abs=1e-3)


def test_what_holds_no_sound_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello " * 100)
    (tmp_path / "empty.mp3").write_bytes(b"")
    sf.write(tmp_path / "none.wav", np.zeros((0, 1)), RATE)
    (tmp_path / "cut.flac").write_bytes(b"fLaC" + bytes(30))
    for bad in ("text.wav", "empty.mp3", "none.wav", "cut.flac", "missing.ogg", "."):
        with pytest.raises(D2MError) as e:
            list(open_sound(tmp_path / bad).blocks())
        assert str(tmp_path) in str(e.value) and "\n" not in str(e.value), bad


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros((2, 3, 4)), np.float32(1.0)])
def test_a_waveform_of_a_wrong_shape_is_refused(wave: np.ndarray) -> None:
    with pytest.raises(D2MError, match="give"):
        open_sound(wave, RATE)
    with pytest.raises(D2MError, match="at 0 Hz"):
        open_sound(np.zeros(10), 0)


def test_real_songs_last_as_long_as_the_model_hears_them(shared_folder: Path) -> None:
    for file in (shared_folder / "data" / "music").glob("*.mp3"):
        assert open_sound(file).seconds == pytest.approx(len(load_audio(file)) / RATE, abs=1e-3)
