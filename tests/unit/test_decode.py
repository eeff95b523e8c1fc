"""One clock for sound and picture, the container's time stamps: lost data leaves a gap and shifts nothing after it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.audio import load_audio
from d2m.music.decode import has_sound
from d2m.music.sound import open_sound
from d2m.prepare.sources.video import decode as decode_pictures

RATE = 48000
#: When the clicks of `clicks` are heard.
CLICKS = (0.5, 1.5, 2.5, 3.5)


def clicks(seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    """(n,): a burst of 440 Hz, 0.1 s, at every time of CLICKS, over a little noise."""
    t = np.arange(round(seconds * rate)) / rate
    wave = 0.01 * np.random.default_rng(0).standard_normal(len(t))
    for at in CLICKS:
        wave += 0.5 * np.sin(2 * np.pi * 440 * t) * ((t >= at) & (t < at + 0.1))
    return wave.astype(np.float32)


def heard(wave: np.ndarray) -> list[float]:
    """When the bursts of a wave at 22,050 Hz begin."""
    loud = np.convolve(np.abs(wave), np.ones(64) / 64, "same") > 0.1
    starts = np.flatnonzero(loud & ~np.r_[False, loud[:-1]]) / SAMPLE_RATE
    return [float(t) for t in starts[np.r_[True, np.diff(starts) > 0.3]]]


def write(
    path: Path, codec: str, wave: np.ndarray, at: Callable[[int], int] = lambda n: n,
    picture_s: tuple[float, float] | None = None, container: str | None = None,
) -> Path:  # fmt: skip
    """Sound whose sample n has the time stamp at(n), and pictures from one second to another."""
    with av.open(str(path), "w", format=container) as out:
        sound = out.add_stream(codec, rate=RATE, layout="mono")
        if picture_s is not None:
            video = out.add_stream("mpeg4", rate=25)
            video.width = video.height = 32
            for k in range(round(picture_s[0] * 25), round(picture_s[1] * 25)):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
                picture.pts, picture.time_base = k, Fraction(1, 25)
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
        size = sound.codec_context.frame_size or 1024
        fit = av.AudioResampler(format=sound.codec_context.format.name, rate=RATE, layout="mono")
        for n in range(0, len(wave), size):
            frame = av.AudioFrame.from_ndarray(wave[None, n : n + size].copy(), format="fltp", layout="mono")
            frame.sample_rate = RATE
            for even in fit.resample(frame):
                even.pts, even.time_base = at(n), Fraction(1, RATE)
                out.mux(sound.encode(even))
        out.mux(sound.encode(None))
    return path


def damage(path: Path, first: float, last: float) -> Path:
    """Zeros from one share of the file to another."""
    data = bytearray(path.read_bytes())
    a, b = round(first * len(data)), round(last * len(data))
    data[a:b] = bytes(b - a)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("t.mp4", "aac"), ("t.mov", "aac"), ("t.mkv", "flac"), ("t.webm", "libopus"), ("t.ts", "aac"), ("t.mkv", "aac")],
)
@pytest.mark.parametrize("late", [0.0, 0.48, 1.0])
def test_sound_that_starts_after_its_pictures_is_preceded_by_silence(
    tmp_path: Path, name: str, codec: str, late: float
) -> None:
    if name == "t.webm":
        pytest.skip("no mpeg4 in webm") if late == 1.0 else None
        name = "t.mkv"
    path = write(tmp_path / name, codec, clicks(), lambda n: n + round(late * RATE), (0, 4))
    # Muxers written by PyAV leave AAC's first block, 21 ms, in the streams of mpegts.
    assert heard(load_audio(path)) == pytest.approx([t + late for t in CLICKS], abs=0.025)
    assert open_sound(path).seconds == pytest.approx(len(load_audio(path)) / SAMPLE_RATE, abs=1e-3)


def test_sound_alone_starts_at_its_first_sample(tmp_path: Path) -> None:
    for name, codec in (("t.m4a", "aac"), ("t.mka", "flac"), ("t.opus", "libopus")):
        path = write(tmp_path / name, codec, clicks(), lambda n: n + 5 * RATE)
        assert heard(load_audio(path)) == pytest.approx(CLICKS, abs=0.025), name


@pytest.mark.parametrize(
    ("name", "codec"), [("t.m4a", "aac"), ("t.mka", "flac"), ("t.webm", "libopus"), ("t.ts", "aac")]
)
def test_gaps_are_silence(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec, clicks(), lambda n: n + (n >= 2 * RATE) * round(0.3 * RATE))
    assert heard(load_audio(path)) == pytest.approx([0.5, 1.5, 2.8, 3.8], abs=0.03)


def test_overlaps_are_dropped(tmp_path: Path) -> None:
    """As a recorder writes that begins a new file before it ends the old one; joined, as mpegts may be."""
    first, second = clicks()[: 2 * RATE], clicks()[round(1.7 * RATE) :]
    parts = [
        write(tmp_path / "a.ts", "mp2", first, lambda n: n).read_bytes(),
        write(tmp_path / "b.ts", "mp2", second, lambda n: n + round(1.7 * RATE)).read_bytes(),
    ]
    (path := tmp_path / "t.ts").write_bytes(b"".join(parts))
    assert heard(load_audio(path)) == pytest.approx(CLICKS, abs=0.06)


def test_stamps_that_jitter_do_not_chop_the_sound(tmp_path: Path) -> None:
    wave = clicks()
    jitter = np.random.default_rng(0).integers(-480, 480, len(wave))
    path = write(tmp_path / "t.mka", "flac", wave, lambda n: n + 480 + int(jitter[n]) if n else 0)
    assert len(load_audio(path, RATE)) == len(wave)
    np.testing.assert_allclose(load_audio(path, RATE), wave, atol=1e-4)


def test_stamps_that_jump_for_an_hour_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.mka", "flac", clicks(), lambda n: n + (n >= 2 * RATE) * 3600 * RATE)
    with pytest.raises(D2MError, match=r"t\.mka: its time stamps jump by 3600 s; re-encode it"):
        load_audio(path)


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "m4a", "aac", "opus"])
def test_damage_in_the_middle_moves_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    wave = np.concatenate([clicks()] * 4) + 0.02 * np.random.default_rng(1).standard_normal(16 * RATE).astype("f4")
    if suffix in ("mp3", "flac", "ogg"):
        sf.write(path, wave, RATE)
    else:
        codec = "libopus" if suffix == "opus" else "aac"
        write(path, codec, wave, container="adts" if suffix == "aac" else None)
    whole = load_audio(path)
    wave = load_audio(damage(path, 0.11, 0.14))
    assert len(wave) == pytest.approx(len(whole), abs=0.05 * SAMPLE_RATE)
    assert heard(wave)[-4:] == pytest.approx([t + 12 for t in CLICKS], abs=0.05)
    silent = np.flatnonzero(np.abs(wave) < 1e-6) / SAMPLE_RATE
    if suffix in ("ogg", "opus"):  # the page is whole, its coder conceals the damage
        return
    assert len(silent) > 0.2 * SAMPLE_RATE and 1.0 < np.median(silent) < 4.0


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_much_damage_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    sf.write(path, clicks(), RATE) if suffix == "mp3" else write(path, "aac", clicks())
    with pytest.raises(D2MError, match="corrupt"):
        load_audio(damage(path, 0.3, 0.6))


@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "aiff", "webm"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    write(path, "libopus", clicks()) if suffix == "webm" else sf.write(path, clicks(), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (load_audio, open_sound):
        with pytest.raises(D2MError, match=r"cut off.* of its 4\.0 s can be decoded; .*ffmpeg -i OLD NEW\.wav"):
            read(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_whose_size_was_never_filled_in_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    sf.write(path := tmp_path / "t.wav", clicks(), RATE, subtype="PCM_16")
    whole = load_audio(path)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)
    np.testing.assert_allclose(load_audio(path), whole, atol=1e-4)
    assert open_sound(path).seconds == 4.0


def test_a_wav_that_holds_more_than_its_header_states_is_refused(tmp_path: Path) -> None:
    sf.write(path := tmp_path / "t.wav", clicks(), RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", RATE * 2)
    path.write_bytes(data)
    with pytest.raises(D2MError, match=r"holds 4\.0 s but its header states 1\.0 s; .*-ignore_length"):
        load_audio(path)
    sf.write(path, clicks(), RATE, subtype="PCM_16")
    whole = load_audio(path)
    tag = b"LIST" + struct.pack("<I", 30000) + bytes(30000)  # notes of an editor after the sound
    path.write_bytes(path.read_bytes() + tag)
    assert np.array_equal(load_audio(path), whole)


@pytest.mark.parametrize("rates", [(48000, 48000), (48000, 24000)])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_every_link_of_an_ogg_chain_is_read(tmp_path: Path, subtype: str, rates: tuple[int, int]) -> None:
    """As radio stations and recorders write them: one Ogg file after another."""
    links = []
    for rate in rates:
        sf.write(part := tmp_path / "part.ogg", clicks(rate=rate), rate, format="OGG", subtype=subtype)
        links.append(part.read_bytes())
    (path := tmp_path / "t.ogg").write_bytes(b"".join(links))
    wave = load_audio(path)
    assert len(wave) == pytest.approx(8 * SAMPLE_RATE, abs=2)
    assert heard(wave) == pytest.approx([*CLICKS, *(t + 4 for t in CLICKS)], abs=0.01)
    assert open_sound(path).seconds == pytest.approx(8.0, abs=1e-3)


def test_covers_are_no_pictures(tmp_path: Path) -> None:
    """The clock of a song with a cover is the song's."""
    path = tmp_path / "t.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame(32, 32, "yuvj420p")
        out.mux(cover.encode(picture))
        frame = av.AudioFrame.from_ndarray(clicks()[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, RATE, Fraction(1, RATE)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert heard(load_audio(path)) == pytest.approx(CLICKS, abs=0.025)


def test_which_files_have_sound(tmp_path: Path) -> None:
    assert has_sound(write(tmp_path / "t.mp4", "aac", clicks(1.0), picture_s=(0, 1)))
    (tmp_path / "text.mp4").write_text("none")
    assert not has_sound(tmp_path / "text.mp4")


def test_mutated_files_are_sound_or_one_line(tmp_path: Path) -> None:
    """200 mutations, seeded: never another error, never more sound than a gap can be."""
    rng = random.Random(0)
    wave, files = clicks(1.0), []
    for suffix in ("wav", "flac", "mp3", "ogg"):
        sf.write(path := tmp_path / f"s.{suffix}", wave, RATE)
        files.append((suffix, path.read_bytes()))
    files.append(("m4a", write(tmp_path / "s.m4a", "aac", wave).read_bytes()))
    outcomes = {"sound": 0, "refused": 0}
    for _ in range(200):
        suffix, original = rng.choice(files)
        data, n = bytearray(original), len(original)
        a = rng.randrange(n)
        b = min(n, a + rng.choice((1, 10, 100, n // 10)))
        match rng.choice(("flip", "head", "zero", "drop", "repeat", "cut")):
            case "flip":
                for _ in range(rng.choice((1, 20))):
                    data[rng.randrange(n)] = rng.randrange(256)
            case "head":
                for _ in range(5):
                    data[rng.randrange(min(n, 200))] = rng.randrange(256)
            case "zero":
                data[a:b] = bytes(b - a)
            case "drop":
                del data[a:b]
            case "repeat":
                data[a:a] = data[a:b]
            case "cut":
                del data[max(1, a) :]
        (path := tmp_path / f"m.{suffix}").write_bytes(data)
        try:
            out = load_audio(path)
        except D2MError as error:
            outcomes["refused"] += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            outcomes["sound"] += 1
            assert out.dtype == np.float32 and np.isfinite(out).all() and len(out) < 700 * SAMPLE_RATE
    assert min(outcomes.values()) > 40


@pytest.mark.parametrize(("sound_s", "picture_s"), [(0.0, 0.0), (0.48, 0.0), (0.0, 0.48)])
@pytest.mark.parametrize("name", ["t.mp4", "t.mkv"])
def test_pictures_and_sound_share_a_clock(tmp_path: Path, name: str, sound_s: float, picture_s: float) -> None:
    late = round(sound_s * RATE)
    path = write(tmp_path / name, "flac" if name == "t.mkv" else "aac", clicks(), lambda n: n + late, (picture_s, 4))
    times = [time for time, _ in decode_pictures(path)[1]]
    assert times[0] == pytest.approx(picture_s, abs=0.002)
    assert np.diff(times) == pytest.approx(0.04, abs=0.002)
    assert heard(load_audio(path))[0] == pytest.approx(sound_s + CLICKS[0], abs=0.025)
