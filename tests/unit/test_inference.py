"""Which songs a request names, what their dances are called, and invalid values."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from d2m.cli.infer import check_values, output_names
from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator


def _songs(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def test_no_two_songs_share_a_name(tmp_path: Path) -> None:
    songs = _songs(tmp_path, "x/a/track.wav", "x/b/track.wav", "y/a/track.wav", "y/a/other.ogg")
    names = output_names(songs)
    assert len(set(names)) == 4 and names[3] == "other"
    assert names[1] == "b_track_wav" and names[0] == "x_a_track_wav" and names[2] == "y_a_track_wav"
    assert output_names(_songs(tmp_path, "s.wav", "s.ogg", "t.mp3")) == ["s_wav", "s_ogg", "t"]
    names = output_names(_songs(tmp_path, "s.wav", "s.ogg", "s_wav.mp3"))
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bundle", ""),
        ("music", None),
        ("out", ""),
        ("seed", None),
        ("seed", 2**63),
        ("warp", None),
        ("device", None),
        ("devices", None),
        ("devices", 0),
        ("batch", 0),
    ],
)
def test_values_that_are_none(key: str, value: object) -> None:
    good = {"bundle": "b", "music": "a", "out": "o", "seed": 0, "warp": True, "video": True, "device": "cpu"}
    good |= {"batch": None, "devices": 1, "lift": "flat", "export_fps": 30}
    check_values(OmegaConf.create(good))
    with pytest.raises(D2MError, match=f"^{key}="):
        check_values(OmegaConf.create({**good, key: value}))


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_a_device_that_is_not_there(device: str, tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=f"device={device}"):
        DanceGenerator.load(tmp_path, device=device)
