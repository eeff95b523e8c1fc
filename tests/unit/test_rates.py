"""Frame rates: those that readers assume are told, and short recordings that fit another rate are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dancing import coco17, dancer, picture

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.manifest import Recording
from d2m.prepare.process import Options, read_recording
from d2m.prepare.rates import assumed_rate, check_lengths
from d2m.prepare.run import _say_assumed
from d2m.prepare.stated import Stated

AIST = "gHO_sFM_cAll_d19_mHO0_ch01.pkl"


def test_rates_that_no_file_states(tmp_path: Path) -> None:
    points = coco17(picture(2.0))
    np.savez(tmp_path / "says.npz", keypoints=points, fps=25)
    np.savez(tmp_path / "silent.npz", keypoints=points)
    np.save(tmp_path / "a.npy", points)
    (tmp_path / "a.json").write_text(json.dumps(points.tolist()))
    for name in (AIST, "mine.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps({"keypoints2d": points[None]}))
    (tmp_path / "folder").mkdir()
    told = {"says.npz": None, "silent.npz": 30, "a.npy": 30, "a.json": 30, AIST: None, "mine.pkl": 60,
            "mine.pkl::c01": 60}  # fmt: skip
    assert {name: assumed_rate("coco17", tmp_path / name, Stated()) for name in told} == told
    assert assumed_rate("openpose", tmp_path / "folder", Stated()) == 30
    (tmp_path / "folder/fps.txt").write_text("25")
    assert assumed_rate("openpose", tmp_path / "folder", Stated()) is None
    assert assumed_rate("aistpp", tmp_path / "mine.pkl", Stated()) == 60
    assert assumed_rate("coco17", tmp_path / "a.json", Stated(fps=25)) is None
    assert assumed_rate("npz", tmp_path / "says.npz", Stated()) is None


@pytest.mark.parametrize(
    ("audio", "end", "max_gap_s", "told"),
    [(True, None, 1.0, False), (False, None, 1.0, True), (True, 5.0, 1.0, True), (True, None, None, True)],
)
def test_an_assumed_rate_is_told_unless_music_confirms_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], audio: bool, end: float | None, max_gap_s: float | None,
    told: bool,
) -> None:  # fmt: skip
    song = tmp_path / "a.wav" if audio else None
    recording = Recording("a", "x", song, tmp_path / "a.json", "a", end_s=end)
    _say_assumed([recording], Options(source="coco17", max_gap_s=max_gap_s))
    assert capsys.readouterr().err == told * "taken to have 30 frames per second: a; state another with fps=\n"


def test_a_short_recording_at_another_rate_is_refused(tmp_path: Path) -> None:
    """5.0 s of motion for 6.0 s of music is within max_gap_s."""
    pose, audio = tmp_path / "a.npz", tmp_path / "a.wav"
    np.savez(pose, joints=dancer(6, 25), fps=30, joint_names=np.array(JOINTS))
    soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 6 * 22050), 22050)
    recording = Recording("a", "x", audio, pose, "a")
    with pytest.raises(D2MError, match=r"equally long at 25 .*: set fps=25 \(fps=30 if it is right\)$"):
        read_recording(recording, Options())
    assert len(read_recording(recording, Options(stated=Stated(fps=25)))[1]) == 90
    assert len(read_recording(recording, Options(stated=Stated(fps=30)))[1]) == 75


@pytest.mark.parametrize(
    ("fps", "motion", "music", "refused"),
    [(25, 19.2, 20.0, True), (30, 4.8, 6.0, True), (60, 5.0, 6.0, True), (30, 6.0, 6.2, False), (30, 6.0, 6.9, False),
     (30, 60.0, 60.06, False), (25, 20.0, 20.4, False)],
)  # fmt: skip
def test_lengths_that_fit_another_rate(fps: float, motion: float, music: float, refused: bool) -> None:
    if not refused:
        check_lengths(fps, motion, music, "a")
        return
    with pytest.raises(D2MError, match=rf"fps={fps} if it is right"):
        check_lengths(fps, motion, music, "a")
