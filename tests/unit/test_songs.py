"""What is a song is decided once: for infer, for study, in folders and globs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.data.songs import find_music, find_songs


def _songs(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def film(path: Path, codec: str | None) -> Path:
    """A second of picture, with sound by a codec, or none."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libvpx" if path.suffix == ".webm" else "mpeg4", rate=5)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sound = out.add_stream(codec, rate=48000, layout="mono") if codec else None
        for _ in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(video.encode(None))
        if sound is not None:
            kind = sound.codec_context.format.name
            wave = np.zeros((1, 48000), np.int16 if kind == "s16" else np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format=kind, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def test_films_with_sound_are_songs_and_what_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jive").mkdir()
    files = _songs(tmp_path / "jive", "a.mp3", "._a.mp3", ".hidden.wav", "notes.txt")
    clip, clip2 = film(tmp_path / "jive/b.webm", "libopus"), film(tmp_path / "jive/c.mp4", "aac")
    film(tmp_path / "jive/silent.mp4", None)
    expected = [files[0], clip, clip2]
    assert find_songs(tmp_path / "jive") == expected
    assert capsys.readouterr().err == "left out, not audio: notes.txt, silent.mp4\n"
    assert find_songs(tmp_path / "jive/*") == expected
    assert find_songs(tmp_path / "jive/*.webm") == [clip] == find_songs(clip)
    assert [s.path for s in find_music(tmp_path)] == expected
    with pytest.raises(D2MError, match=r"music=.*\*\.txt: none of the 1 files that match is audio \(notes\.txt\)"):
        find_songs(tmp_path / "jive/*.txt")


def test_our_own_films_are_not_danced_to_again(tmp_path: Path) -> None:
    song = _songs(tmp_path, "a.wav", "a.npz", "a.json")[0]
    film(tmp_path / "a.mp4", "aac")
    assert find_songs(tmp_path) == [song]


def test_globs(tmp_path: Path) -> None:
    songs = _songs(tmp_path, "my [live] songs/a.wav", "my [live] songs/deep/er/b.wav", "my [live] songs/c.txt")
    folder = tmp_path / "my [live] songs"
    assert find_songs(str(folder / "*")) == songs[:1]
    assert find_songs(str(folder / "**" / "*.wav")) == songs[:2]
    assert find_songs(str(tmp_path / "my*" / "*.wav")) == songs[:1]
    assert find_songs(str(folder)) == songs[:1]
