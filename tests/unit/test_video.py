"""Videos play everywhere, last as long as the song, contain its sound, and are written atomically."""

from __future__ import annotations

import io
import os
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from d2m.core.errors import D2MError
from d2m.draw.render import THEMES, Frame, draw_dance
from d2m.draw.video import VideoInfo, probe, render_dance, video_gif, write_video
from tests.figures import star, swaying

RATE = 22050
SMALL = (96, 96)


def blank(n: int = 3, height: int = 64, width: int = 64) -> list[Frame]:
    return [np.full((height, width, 3), 20 * k, np.uint8) for k in range(n)]


def song(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(n, channels): a click track under smooth noise, unlike itself at any other lag."""
    rng = np.random.default_rng(int(seconds * 10) + channels)
    white = rng.normal(size=(round(seconds * rate), channels))
    wave = np.apply_along_axis(np.convolve, 0, white, np.hanning(max(8, rate // 1000)), "same")
    return (0.4 * wave / np.abs(wave).max()).astype(np.float32)


def decoded_sound(path: Path) -> np.ndarray:
    """(channels, n) of a video, on its own clock: from time zero."""
    with av.open(str(path)) as f:
        stream = f.streams.audio[0]
        blocks = [(b.time, b.to_ndarray()) for b in f.decode(stream)]
        rate = stream.rate
    out = np.concatenate([b for _, b in blocks], axis=1)
    start = round((blocks[0][0] or 0.0) * rate)
    return out[:, -start:] if start < 0 else np.pad(out, ((0, 0), (start, 0)))


def decoded_frames(path: Path) -> list[Frame]:
    with av.open(str(path)) as f:
        return [frame.to_ndarray(format="rgb24") for frame in f.decode(video=0)]


def boxes(path: Path) -> list[bytes]:
    """The top-level boxes of an mp4."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return found


def test_a_silent_video_is_h264_that_plays_everywhere(tmp_path: Path) -> None:
    path = render_dance(tmp_path / "new" / "a.mp4", [swaying(9)], ["dance"], size=SMALL)
    info = probe(path)
    assert (info.video_codec, info.pix_fmt, info.fps) == ("h264", "yuv420p", 30)
    assert (info.width, info.height, info.n_frames) == (96, 96, 18)
    assert info.seconds == info.video_seconds == pytest.approx(0.6)
    assert (info.audio_codec, info.audio_seconds, info.sample_rate, info.channels) == (None,) * 4
    assert boxes(path).index(b"moov") < boxes(path).index(b"mdat")  # plays while it loads
    assert not [p for p in path.parent.iterdir() if p != path]


def test_the_picture_survives_encoding_in_its_place_and_colours(tmp_path: Path) -> None:
    drawn = list(draw_dance([swaying(6)], size=(256, 256)))
    shown = decoded_frames(write_video(tmp_path / "a.mp4", drawn))
    assert len(shown) == 12
    for a, b in zip(drawn, shown, strict=True):
        assert np.abs(a.astype(int) - b).mean() < 4
    solid = THEMES["dark"].right
    core = (np.abs(drawn[0].astype(int) - solid) <= 1).all(-1)
    core[:, :-1] &= core[:, 1:]
    core[:-1] &= core[1:]
    assert np.abs(np.median(shown[0][core].astype(int), axis=0) - solid).max() <= 8


@pytest.mark.parametrize("shape", [(65, 64), (64, 65), (33, 51)])
def test_an_odd_size_is_widened_by_one_pixel(tmp_path: Path, shape: tuple[int, int]) -> None:
    info = probe(write_video(tmp_path / "a.mp4", blank(3, *shape)))
    assert (info.height, info.width) == tuple(s + s % 2 for s in shape) and info.n_frames == 3


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"), [(1.0, 22050, 1), (1.234, 44100, 2), (0.777, 48000, 2), (2.05, 8000, 1)]
)
@pytest.mark.parametrize("t", [12, 40])
def test_a_video_lasts_as_long_as_its_song(tmp_path: Path, seconds: float, rate: int, channels: int, t: int) -> None:
    wave = song(seconds, rate, channels)
    sf.write(tmp_path / "song.wav", wave, rate)
    info = probe(render_dance(tmp_path / "a.mp4", [star(t)], audio=tmp_path / "song.wav", size=SMALL))
    assert (info.audio_codec, info.sample_rate, info.channels) == ("aac", rate, channels)
    assert abs(info.video_seconds - seconds) <= 1 / 30
    assert info.n_frames == round(seconds * 30)
    assert info.audio_seconds is not None and abs(info.audio_seconds - seconds) <= 1 / 30
    assert abs(info.seconds - seconds) <= 1 / 30


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (44100, 2)])
def test_the_sound_is_the_songs_in_time_and_in_its_channels(tmp_path: Path, rate: int, channels: int) -> None:
    wave = song(2, rate, channels)
    sf.write(tmp_path / "song.flac", wave, rate)
    out = decoded_sound(render_dance(tmp_path / "a.mp4", [star(5)], audio=tmp_path / "song.flac", size=SMALL))
    assert len(out) == channels
    n = min(out.shape[1], len(wave))
    for k in range(channels):
        assert np.corrcoef(out[k, :n], wave[:n, k])[0, 1] > 0.95
        late = np.fft.irfft(np.fft.rfft(out[k], 2**18) * np.conj(np.fft.rfft(wave[:, k], 2**18)))
        assert late.argmax() in (0, 1, 2**18 - 1)
    if channels == 2:
        assert abs(np.corrcoef(out[0, :n], wave[:n, 1])[0, 1]) < 0.2


@pytest.mark.parametrize("rate", [12345, 192000])
def test_sound_at_a_rate_that_aac_lacks_is_resampled(tmp_path: Path, rate: int) -> None:
    seconds = 1.0
    tone = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate).astype(np.float32)
    path = write_video(tmp_path / "a.mp4", blank(), audio=0.5 * tone, sample_rate=rate)
    info, out = probe(path), decoded_sound(path)[0]
    assert info.sample_rate == 44100 and abs(info.seconds - seconds) <= 1 / 30
    spectrum = np.abs(np.fft.rfft(out[4410:39690]))
    assert spectrum.argmax() * 44100 / 35280 == pytest.approx(440, abs=2)


def test_sound_is_followed_by_silence_or_cut(tmp_path: Path) -> None:
    wave = song(1.0)
    longer = write_video(tmp_path / "long.mp4", blank(), audio=wave, duration_s=2.0)
    assert abs(probe(longer).seconds - 2) <= 1 / 30 and abs((probe(longer).audio_seconds or 0) - 2) <= 1 / 30
    out = decoded_sound(longer)[0]
    assert np.abs(out[: RATE // 2]).max() > 0.2 and np.abs(out[round(1.1 * RATE) : round(1.9 * RATE)]).max() < 1e-3
    shorter = write_video(tmp_path / "short.mp4", blank(), audio=wave, duration_s=0.4)
    assert probe(shorter).n_frames == 12 and abs((probe(shorter).audio_seconds or 0) - 0.4) <= 1 / 30


def test_missing_frames_repeat_the_last_and_surplus_ones_are_not_drawn(tmp_path: Path) -> None:
    few = decoded_frames(write_video(tmp_path / "few.mp4", blank(3), duration_s=0.5))
    assert len(few) == 15 and abs(int(few[-1].mean()) - 40) < 4
    drawn: list[int] = []

    def endless() -> Iterator[Frame]:
        while True:
            drawn.append(len(drawn))
            yield blank(1)[0]

    assert probe(write_video(tmp_path / "many.mp4", endless(), duration_s=0.2)).n_frames == 6
    assert len(drawn) <= 7


def test_three_dances_stand_side_by_side(tmp_path: Path) -> None:
    names = ["original (waltz)", "neutral", "target (chacha, x1)"]
    path = render_dance(tmp_path / "a.mp4", [swaying(4, k) for k in range(3)], names, audio=song(0.3), size=(80, 64))
    assert (probe(path).width, probe(path).height, probe(path).n_frames) == (240, 64, 9)


def test_the_same_dance_is_the_same_file(tmp_path: Path) -> None:
    a, b = (render_dance(tmp_path / n, [swaying(5)], audio=song(0.4), size=SMALL) for n in ("a.mp4", "b.mp4"))
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("fps", [15, 24, 29.97, 60])
def test_other_rates(tmp_path: Path, fps: float) -> None:
    info = probe(write_video(tmp_path / "a.mp4", blank(6), fps))
    assert info.fps == pytest.approx(fps, rel=1e-4) and info.n_frames == 6
    assert info.seconds == pytest.approx(6 / fps, abs=2e-3)


def refused(act: Callable[[], object], folder: Path, *words: str) -> None:
    """One line that names the file, and nothing left behind."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(D2MError) as e:
        act()
    assert "\n" not in str(e.value)
    for word in words:
        assert word in str(e.value)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [np.zeros((64, 64), np.uint8)],
        [np.zeros((64, 64, 4), np.uint8)],
        [np.zeros((64, 64, 3), np.float32)],
        [np.zeros((0, 64, 3), np.uint8)],
        [*blank(2), np.zeros((64, 66, 3), np.uint8)],
    ],
)
def test_frames_that_are_none_are_refused(tmp_path: Path, frames: list) -> None:
    refused(lambda: write_video(tmp_path / "a.mp4", frames), tmp_path, "a.mp4", "frame")


@pytest.mark.parametrize("change", [{"fps": 0}, {"fps": float("nan")}, {"duration_s": 0}, {"duration_s": float("inf")}])
def test_impossible_times_are_refused(tmp_path: Path, change: dict) -> None:
    refused(lambda: write_video(tmp_path / "a.mp4", blank(), **change), tmp_path, "a.mp4", "above 0")


def test_a_failure_midway_leaves_the_old_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from blank(5)
        raise RuntimeError("the model burnt down")

    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="burnt"):
        write_video(tmp_path / "a.mp4", broken())
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == b"old"


def test_sound_that_cannot_be_read_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "bad.ogg").write_text("no sound")
    for audio in ("bad.ogg", "missing.mp3"):
        refused(
            lambda a=audio: render_dance(tmp_path / "a.mp4", [star(3)], audio=tmp_path / a, size=SMALL), tmp_path, audio
        )


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "a.mp4").mkdir()
    refused(lambda: write_video(tmp_path / "file" / "x" / "b.mp4", blank()), tmp_path, "b.mp4")
    refused(lambda: write_video(tmp_path / "a.mp4", blank()), tmp_path, "is a folder")


def test_a_read_only_folder_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user writes everywhere")
    refused(lambda: write_video(folder / "a.mp4", blank()), tmp_path, "a.mp4", "Permission")


def test_a_disk_that_fills_up_while_encoding_is_one_clear_line(tmp_path: Path) -> None:
    """A limit on files' size fails the same write calls, within FFmpeg too."""
    noisy = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    try:
        refused(lambda: write_video(tmp_path / "a.mp4", list(noisy)), tmp_path, "a.mp4", "write")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_disk_that_is_full_at_the_end_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused(lambda: write_video(tmp_path / "a.mp4", blank()), tmp_path, "a.mp4", "No space left")


def test_probe_refuses_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text")
    sf.write(tmp_path / "a.wav", np.zeros(100), RATE)
    for name in ("a.mp4", "a.wav", "missing.mp4"):
        refused(lambda n=name: probe(tmp_path / n), tmp_path, name)


def test_strange_names_are_names(tmp_path: Path) -> None:
    path = tmp_path / "a b [1] (x) & y=2 %05d 'ü'.mp4"
    assert isinstance(probe(write_video(path, blank())), VideoInfo)


def test_a_gif_shows_the_video_moving(tmp_path: Path) -> None:
    path = render_dance(tmp_path / "a.mp4", [swaying(15)], size=(128, 64))
    data, size = video_gif(path, fps=10, height=32)
    assert size == (64, 32) and re.match(rb"GIF89a", data)
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.size == size and gif.n_frames == 10 and gif.info["duration"] == 100
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(5)
        assert np.abs(np.asarray(gif.convert("RGB")) - first).max() > 50
