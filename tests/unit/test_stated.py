"""Statements about poses: per recording in the manifest, and advice that the command which gives it can follow."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import write_manifest
from dancing import coco17, dancer, picture

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.corpus import Corpus
from d2m.data.manifest import MANIFEST, Recording, read_manifest
from d2m.prepare.plan import SplitOptions
from d2m.prepare.plausible import look, read_pose
from d2m.prepare.process import Options, read_recording
from d2m.prepare.run import prepare, prepare_into
from d2m.prepare.sources.clip import make_clip
from d2m.prepare.stated import STATED, Stated, parse_stated
from tests.commands import d2m

OTHER = [JOINTS.index(j.replace("left", "?").replace("right", "left").replace("?", "right")) for j in JOINTS]
FLAT = Options(yaws=(0.0,))


def save(path: Path, joints: np.ndarray, fps: float = 30.0, **more: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, joints=joints, fps=fps, **more)
    return path


def rows(root: Path, *lines: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(["name", "genre", "audio", "pose", *(c for line in lines for c in line)]))
    text = [",".join(columns), *(",".join(f'"{line.get(c, "")}"' for c in columns) for line in lines)]
    root.mkdir(exist_ok=True)
    (root / MANIFEST).write_text("\n".join(text) + "\n")
    return root


def mixed(root: Path) -> Path:
    """The same dance in four spellings, each stated by its own row."""
    true = dancer(6.0)
    save(root / "cm.npz", true)
    save(root / "metres.npz", true[..., [0, 2, 1]] * [1, -1, 1] / 100, fps=15.0)
    np.savez(root / "pixels.npz", keypoints=coco17(picture(6.0)) / [1280, 720], fps=30.0)
    mirrored = (picture(6.0) * [-1, 1])[:, OTHER]  # what a detector finds in a mirrored film
    save(root / "mirrored.npz", mirrored)
    row = {"genre": "x", "audio": ""}
    return rows(
        root, {**row, "name": "cm", "pose": "cm.npz"},
        {**row, "name": "metres", "pose": "metres.npz", "unit": "m", "up": "z", "fps": "30"},
        {**row, "name": "pixels", "pose": "pixels.npz", "source": "coco17", "picture": "1280x720", "order": "coco17"},
        {**row, "name": "mirrored", "pose": "mirrored.npz", "mirror": "TRUE"},
    )  # fmt: skip


def test_every_recording_may_have_its_own_source_unit_axis_rate_and_order(tmp_path: Path) -> None:
    found = {r.name: r for r in read_manifest(mixed(tmp_path / "raw"))}
    poses = {}
    for name, recording in found.items():
        own = FLAT.of(recording)
        poses[name] = read_pose(own.source, recording.pose, own.stated)
    np.testing.assert_allclose(poses["metres"].joints, poses["cm"].joints, atol=1e-3)
    assert poses["metres"].fps == poses["cm"].fps == 30.0
    np.testing.assert_allclose(np.delete(poses["pixels"].joints, 1, 1), np.delete(picture(6.0), 1, 1), atol=1e-2)
    np.testing.assert_allclose(poses["mirrored"].joints, picture(6.0), atol=1e-3)
    assert FLAT.of(found["cm"]) is FLAT


def test_a_corpus_of_mixed_sources_is_prepared_and_not_again(tmp_path: Path) -> None:
    raw, out = mixed(tmp_path / "raw"), tmp_path / "out"
    assert prepare_into(out, raw, FLAT, SplitOptions()) == 4
    corpus, digest = Corpus.open(out), Corpus.open(out).digest
    assert [r.name for r in corpus.recordings] == ["cm", "metres", "pixels", "mirrored"]
    cm, metres = corpus.song_poses(0), corpus.song_poses(1)
    np.testing.assert_allclose(metres, cm, atol=0.1)
    parts = {p: p.stat().st_mtime_ns for p in (out / "parts").rglob("*.npz")}
    assert prepare_into(out, raw, FLAT, SplitOptions()) == 4 and Corpus.open(out).digest == digest
    assert {p: p.stat().st_mtime_ns for p in (out / "parts").rglob("*.npz")} == parts
    text = (raw / MANIFEST).read_text()
    (raw / MANIFEST).write_text(text.replace('"m","z"', '"cm","z"'))
    with pytest.raises(D2MError, match=r"legs would be 0\.8"):
        prepare_into(out, raw, FLAT, SplitOptions(), strict=True)


def test_what_is_stated_for_all_holds_where_a_row_is_silent() -> None:
    every = Options(stated=Stated(unit="m", fps=25.0))
    row = Recording("a", "x", None, Path("a.npz"), "a", stated=(("unit", "12.5"), ("swap_sides", "false")))
    assert every.of(row).stated == Stated(unit=12.5, fps=25.0, swap_sides=False)
    other = Recording("a", "x", None, Path("a"), "a", stated=(("source", "video"), ("up", "auto")))
    assert every.of(other).stated == Stated(up="auto") and every.of(other).source == "video"
    assert parse_stated({"picture": "[640, 480]", "unit": "auto"}) == {"picture": [640.0, 480.0], "unit": "auto"}


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("unit", "furlong", "unit=furlong: choose m"), ("unit", "-1", "above 0"), ("fps", "fast", "fps=fast"),
        ("up", "w", "up=w: give y"), ("order", "coco", "order=coco: give one of"),
        ("mirror", "yes", "mirror=yes: give"),
        ("picture", "1280", r"picture=\[1280.0\]: give its width"), ("source", "vdieo", "no source 'vdieo'; choose"),
        ("swap_sides", "2", "true or false"),
    ],
)  # fmt: skip
def test_an_invalid_statement_is_named_before_any_work(tmp_path: Path, column: str, value: str, told: str) -> None:
    raw = rows(tmp_path / "raw", {"name": "a b", "genre": "x", "pose": "a.npz", column: value})
    with pytest.raises(D2MError, match=rf"manifest\.csv: a b: .*{told}") as e:
        prepare_into(tmp_path / "out", raw, FLAT, SplitOptions())
    assert "\n" not in str(e.value) and not (tmp_path / "out").exists()


def test_a_source_of_a_row_refuses_what_it_does_not_read(tmp_path: Path) -> None:
    raw = rows(tmp_path / "raw", {"name": "a", "genre": "x", "pose": "a.mp4", "source": "video", "fps": "25"})
    with pytest.raises(D2MError, match="source=video does not take fps="):
        prepare_into(tmp_path / "out", raw, FLAT, SplitOptions())


def test_a_column_of_statements_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("name,genre,audio,pose,unit,unit\na,x,,a.npz,m,cm\n")
    with pytest.raises(D2MError, match="column unit appears twice"):
        read_manifest(tmp_path)


# --- gaps that were known ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [False, True])
def test_a_rate_ten_times_too_low_is_refused(tmp_path: Path, flat: bool) -> None:
    for seed in range(4):
        path = save(tmp_path / "a.npz", picture(4, seed=seed) if flat else dancer(4, seed=seed))
        assert read_pose("npz", path, Stated()).fps == 30
        with pytest.raises(
            D2MError, match=r"at 3 frames per second hands and feet move at only 0\.\d\d m/s; set .*fps="
        ):
            read_pose("npz", path, Stated(fps=3))


def test_few_frames_per_second_that_are_right_are_read(tmp_path: Path) -> None:
    for fps in (3, 5, 10):
        for seed in range(4):
            path = save(tmp_path / "a.npz", dancer(8, 30, seed)[:: 30 // fps], fps=fps)
            if fps < 8:
                with pytest.raises(D2MError, match=rf"too few for a dance; .*\(fps={fps} if it is right\)"):
                    read_pose("npz", path, Stated())
            assert read_pose("npz", path, Stated(fps=fps) if fps < 8 else Stated()).fps == fps
    still = np.repeat(dancer(0.1)[:1], 40, axis=0)
    assert read_pose("npz", save(tmp_path / "a.npz", still, fps=9), Stated()).fps == 9


@pytest.mark.parametrize("flat", [False, True])
def test_points_in_reverse_are_refused_and_no_order_is_advised_that_is_wrong(tmp_path: Path, flat: bool) -> None:
    for seed in range(4):
        body = picture(4, seed=seed) if flat else dancer(4, seed=seed)
        path = save(tmp_path / "a.npz", body[:, ::-1])
        for order in (None, "lsp14"):
            with pytest.raises(D2MError, match=r"form no body in the order (d2m|lsp14); .*joint_names") as e:
                read_pose("npz", path, Stated(order=order))
            assert "set order" not in str(e.value)
        named = save(tmp_path / "b.npz", body[:, ::-1], joint_names=np.array(JOINTS[::-1]))  # as it advises
        np.testing.assert_allclose(read_pose("npz", named, Stated()).joints, body, atol=1e-3)


def test_wrong_names_are_called_that(tmp_path: Path) -> None:
    """No order is advised: where joints are named, none is read."""
    path = save(tmp_path / "a.npz", dancer(4), joint_names=np.array(JOINTS[::-1]))
    with pytest.raises(D2MError, match="so their names are wrong; correct its joint_names"):
        read_pose("npz", path, Stated())
    for source, told in (("bvh", r"names=\{left_wrist:JOINT,...\}"), ("coco17", "leave the recording out")):
        with pytest.raises(D2MError, match=told):
            look(make_clip(dancer(4)[:, ::-1], 30, "x"), Stated(), "x", source)


def test_a_mirrored_film_is_undone_in_x_and_in_its_sides(tmp_path: Path) -> None:
    true = picture(4)
    film = (true * [-1, 1] + [1280, 0])[:, OTHER]
    got = read_pose("npz", save(tmp_path / "a.npz", film), Stated(mirror=True)).joints
    np.testing.assert_allclose(got - got[:, 1:2], true - true[:, 1:2], atol=1e-3)
    x_alone = read_pose("npz", save(tmp_path / "b.npz", true * [-1, 1]), Stated(mirror=True, swap_sides=True)).joints
    np.testing.assert_allclose(x_alone, true, atol=1e-3)


# --- advice ------------------------------------------------------------------------------------------------------


def test_a_film_is_not_told_to_state_its_rate(tmp_path: Path) -> None:
    fast = make_clip(dancer(6, 15), 120, "x")
    with pytest.raises(D2MError, match="m/s; re-encode the film"):
        look(fast, Stated(), "x", "video")
    with pytest.raises(D2MError, match="m/s; set the right rate"):
        look(fast, Stated(), "x", "bvh")


def test_training_on_raw_data_advises_keys_of_train(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "raw" / "a.npz", dancer(6) / 100)
    write_manifest(tmp_path / "raw", [{"name": "a", "genre": "x", "audio": "", "pose": "a.npz", "licence": ""}])
    with pytest.raises(
        D2MError, match=r"set \+data\.corpus\.stated\.unit=m, or \+?data\.corpus\.stated\.unit=auto|set"
    ) as e:
        prepare(tmp_path / "raw", tmp_path / "out", yaws=(0.0,))
    assert "set +data.corpus.stated.unit=m, or +data.corpus.stated.unit=auto" in str(e.value)
    prepare(tmp_path / "raw", tmp_path / "out", yaws=(0.0,), stated={"unit": "m"})
    d2m("train", "data=mocap", "data.root=x", "+data.corpus.stated.unit=m", "--cfg", "job")
    assert "unit: m" in capfd.readouterr().out


def test_music_of_another_length_names_a_rate_only_where_one_can_be_stated(tmp_path: Path) -> None:
    """A film's rate is its container's."""
    from d2m.prepare.process import _match

    song = Recording("a", "x", tmp_path / "a.wav", tmp_path / "a.mp4", "a")
    joints, wave = np.zeros((100, 14, 2), np.float32), np.zeros(8 * 22050, np.float32)
    for rate, told in ((30.0, "set fps=25"), (None, r"max_gap_s=1; if they end together, set audio_offset=-1\.33$")):
        with pytest.raises(D2MError, match=told):
            _match(joints, wave, song, 1.0, rate)


def test_a_songs_row_with_its_own_rate(tmp_path: Path) -> None:
    """Poses at 25 frames per second in a file that says 30, with their music."""
    save(tmp_path / "raw" / "a.npz", dancer(8, 25), fps=30)
    soundfile.write(tmp_path / "raw" / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8 * 22050), 22050)
    raw = rows(tmp_path / "raw", {"name": "a", "genre": "x", "audio": "a.wav", "pose": "a.npz", "fps": "25"})
    (recording,) = read_manifest(raw)
    assert len(read_recording(recording, FLAT)[1]) == 120


def test_every_statement_that_a_reader_advises_is_translated() -> None:
    from d2m.prepare.run import _STATEMENT

    for told in (
        "set up=z (or up=y if it does)", "set the right rate, e.g. fps=30", "name them, names={neck:JOINT,...}",
        "omit unit=m", "set up=y, up=x or up=-x", "they may differ by max_gap_s=1",
        "if they end together, set audio_offset=-1.33",
    ):  # fmt: skip
        keys = [key for key in re.findall(r"(\w+)=", told) if key in STATED]
        spelled = _STATEMENT.sub(r"\1+data.corpus.stated.\2=", told)
        assert re.findall(r"\+data\.corpus\.stated\.(\w+)=", spelled) == keys
