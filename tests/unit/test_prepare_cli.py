"""The command line, by Hydra: paths, exit codes, multirun shards, what train.py can do with the result."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import tree, write_manifest, write_pose, write_raw
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.data.normalizer import Normalizer
from d2m.prepare.mix import open_corpora
from d2m.prepare.plan import SplitOptions
from d2m.prepare.process import Options
from d2m.prepare.run import prepare, prepare_into
from tests.commands import called, d2m

REPO = Path(__file__).parents[2]
CONF = str(REPO / "conf")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("cli") / "my raw [1] a=b", {"a": "groove", "b": "flow"}, seconds=9.0)


def test_shards_by_multirun_then_merge(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out (2), c=d"
    done = called("prepare", "-m", f"raw={raw}", f"out={out}", "yaws=[0]", "shard=0/2,1/2")
    assert done.returncode == 0, done.stderr
    assert "shard 1/2" in done.stdout and not (out / "corpus.json").exists()
    done = called("prepare", "merge=true", f"out={out}")
    assert done.returncode == 0 and "| flow " in done.stdout and done.stderr == "", done.stderr
    one = tmp_path / "one"
    assert prepare_into(one, raw, Options(yaws=(0.0,)), SplitOptions(), workers=1) == 2
    assert tree(one) == tree(out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "out (2), c=d", "outputs"]


def test_errors_are_one_line_and_exit_2(raw: Path, tmp_path: Path) -> None:
    for arguments, told in [
        (("out=o", "raw=nowhere", "source=fax"), "no source 'fax'"),
        ((f"raw={raw}", "out=o", "seed=many"), "seed=many: expected a whole number"),
    ]:
        done = called("prepare", *arguments)
        assert done.returncode == 2 and told in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1 and done.stdout == "", done.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        ([], r"give out=\.\.\. raw=\.\.\.; d2m prepare --help"),
        (["merge=true"], r"give out=\.\.\.;"),
        (["raw=r", "out=o", "val_fraction=null"], "val_fraction=null: give"),
        (["raw=r", "out=o", "yaws=null"], "yaws=null: give"),
        (["raw=r", "out=o", "workers=two"], "workers=two: expected a whole number"),
    ],
)
def test_what_is_missing_is_named(words: list[str], told: str) -> None:
    with pytest.raises(D2MError, match=told):
        d2m("prepare", *words)


@pytest.mark.parametrize(
    "words, told",
    [
        (["yaws=[x]"], "yaws=.*degrees"),
        (["yaws=[nan]"], "yaws=.*degrees"),
        (["clean=3"], "clean=3: give options"),
        (["groups=3"], "groups=3: give names"),
        (["groups={g:a}"], "groups=.*: give names"),
        (["groups={g:[nobody]}"], "'nobody', which is not a recording"),
        (["camera=[1]"], "camera=.*: give a single name"),
    ],
)
def test_values_of_the_wrong_kind_are_named(raw: Path, tmp_path: Path, words: list[str], told: str) -> None:
    with pytest.raises(D2MError, match=told):
        d2m("prepare", f"raw={raw}", f"out={tmp_path / 'o'}", *words)
    assert not (tmp_path / "o").exists()


def test_options_of_cleaning_groups_and_a_licence_as_documented(raw: Path, tmp_path: Path) -> None:
    words = ["yaws=[0]", "clean={max_filled:0.5}", "groups={pair:[a,b]}", "licence=CC BY (Anna), 4.0"]
    for licence in (words[-1], "licence=3"):
        d2m("prepare", f"raw={raw}", f"out={tmp_path / 'o'}", *words, licence)
    corpus = Corpus.open(tmp_path / "o")
    assert corpus.info["options"]["clean"] == {"max_filled": 0.5}
    assert [r.group for r in corpus.recordings] == ["pair", "pair"]


def test_strict_exits_2_where_one_is_broken(raw: Path, tmp_path: Path) -> None:
    bad = write_raw(tmp_path / "bad", {"a": "groove", "b": "flow"}, seconds=9.0)
    (bad / "audio/a.flac").write_bytes(b"")
    loose = called("prepare", f"raw={bad}", f"out={tmp_path / 'o'}", "yaws=[0]")
    assert loose.returncode == 0 and "left out (1):\n  a: audio/a.flac: is empty" in loose.stdout
    strict = called("prepare", f"raw={bad}", f"out={tmp_path / 'p'}", "yaws=[0]", "strict=true")
    assert strict.returncode == 2 and strict.stderr.startswith("error: strict=true: recording 'a'")
    assert strict.stderr.count("\n") == 1


# --- mixing ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paired")
    names = {f"{g}{i}": g for g in ("groove", "flow") for i in range(3)}
    return prepare(write_raw(root / "raw", names), root, yaws=[0, 90], workers=1)


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unpaired")
    raw = write_raw(root / "x", {"groove0": "groove", "s1": "groove", "s2": "drive"})
    for name, genre in [("groove0", "groove"), ("s1", "salsa"), ("s2", "salsa")]:
        write_pose(root / "raw" / genre / f"{name}.npz", 1.3 * np.load(raw / f"pose3d/{name}.npz")["joints"])
    return prepare(root / "raw", root, yaws=[0], workers=1)


def test_one_corpus_is_opened_where_it_lies(paired: Path, tmp_path: Path) -> None:
    assert open_corpora(str(paired), tmp_path) == paired == open_corpora([paired], tmp_path)
    assert not list(tmp_path.iterdir())


def test_paired_and_unpaired_as_one(paired: Path, unpaired: Path, tmp_path: Path) -> None:
    mixed = open_corpora([paired, unpaired], tmp_path)
    assert open_corpora([paired, unpaired], tmp_path) == mixed
    a, b, both = Corpus.open(paired), Corpus.open(unpaired), Corpus.open(mixed)
    assert both.genres == ("flow", "groove", "salsa")
    names = [r.name for r in both.recordings]
    assert len(set(names)) == 9 and {"0/groove0", "1/groove0", "s1"} <= set(names)
    np.testing.assert_array_equal(both.units, np.concatenate([a.units, b.units]))
    for i in range(9):
        corpus, j = (a, i) if i < 6 else (b, i - 6)
        mine, theirs = both.recordings[i], corpus.recordings[j]
        assert mine.split == theirs.split and both.genres[both.recording_genre[i]] == theirs.genre
        np.testing.assert_array_equal(both.song_poses(i), corpus.song_poses(j))
        np.testing.assert_array_equal(both.song_features(i), corpus.song_features(j))
        np.testing.assert_array_equal(both.song_beats(i), corpus.song_beats(j))
        np.testing.assert_array_equal(both.units[both.unit_recording == i], corpus.units[corpus.unit_recording == j])
        assert both.audio_path(i) == corpus.audio_path(j)
        of_mine = both.unit_genre[both.unit_recording == i]
        assert (of_mine == both.genres.index(theirs.genre)).all()
    # Runs are the same runs of the same units.
    spans = [c.units[s] for c in (a, b) for s in c.sequence_starts("train")]
    np.testing.assert_array_equal(both.units[both.sequence_starts("train")], np.array(spans))
    # The normaliser is that of both training splits.
    poses = np.concatenate([c.units[c.units_in("train")].reshape(-1, 28) for c in (a, b)])
    fitted = Normalizer.fit([poses], [a.song_features(int(i)) for i in a.recordings_in("train")], 188)
    for name in ("pose_mean", "pose_std", "feature_mean", "feature_std"):
        np.testing.assert_allclose(getattr(both.normalizer, name), getattr(fitted, name), rtol=1e-3, atol=1e-3)
    assert both.report["table"]["salsa"]["motion_beats"] > 0
    assert pickle.loads(pickle.dumps(both)).genres == both.genres


def test_stage_1_sees_all_units_later_stages_those_with_music(paired: Path, unpaired: Path, tmp_path: Path) -> None:
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["data=corpus", f"data.root=[{paired},{unpaired}]", f"data.cache={tmp_path}"])
    mixed = instantiate(cfg.data.corpus)
    genres = {"unit_pairs": {0, 1, 2}, "songs": {0, 1}, "sequences": {0, 1}}
    for kind, expected in genres.items():
        data = DanceDataModule(str(mixed), kind, batch_size=128)
        batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())))
        assert set(batch["genre"].tolist()) == expected, kind
        if "recording" in batch:
            assert batch["recording"].max() < 6


def test_mixing_refuses_what_does_not_fit(paired: Path, unpaired: Path, tmp_path: Path) -> None:
    for roots, told in [([], "empty"), ([paired, paired], "twice"), ([paired, tmp_path / "none"], "not a prepared")]:
        with pytest.raises(D2MError, match=told):
            open_corpora(roots, tmp_path)
    raw = write_raw(tmp_path / "raw", {"a": "groove"}, seconds=9.0)
    legacy = prepare(raw, tmp_path, yaws=[0], front_end="legacy", workers=1)
    with pytest.raises(D2MError, match=r"music features of legacy .* and rhythm .*one front_end"):
        open_corpora([paired, legacy], tmp_path)


# --- the configs ---------------------------------------------------------------------------------------------------


def aist_folder(root: Path) -> Path:
    """AIST++'s published layout: annotations beside the songs of the AIST Dance Database."""
    from d2m.toy.write import make_pair

    for number, name in enumerate(("gBR_sBM_cAll_d04_mBR0_ch01", "gBR_sBM_cAll_d05_mBR1_ch02",
                                   "gLO_sFM_cAll_d13_mLO2_ch05", "gLO_sBM_cAll_d13_mLO2_ch09")):  # fmt: skip
        song, dance = make_pair("groove", 12.0, np.random.default_rng(number))
        ours, coco = dance.joints, np.zeros((len(dance.joints), 17, 3))
        for i, j in enumerate((0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15)):
            coco[:, j] = ours[:, [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13][i]]
        coco[:, 1:5] = coco[:, :1]
        frames = np.arange(60 * 9) / 4  # 9 s at 60 fps
        at = frames.astype(int)
        smooth = coco[at] + (frames - at)[:, None, None] * (coco[at + 1] - coco[at])
        for folder in ("keypoints3d", "motions", "keypoints2d"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        with open(root / "keypoints3d" / f"{name}.pkl", "wb") as f:
            pickle.dump({"keypoints3d": smooth, "keypoints3d_optim": smooth}, f)
        with open(root / "keypoints2d" / f"{name}.pkl", "wb") as f:
            pickle.dump({"keypoints2d": np.zeros((9, 540, 17, 3)), "timestamps": np.arange(540)}, f)
        (root / "music").mkdir(exist_ok=True)
        soundfile.write(root / "music" / f"{name.split('_')[4]}.wav", song.wave, SAMPLE_RATE)
    (root / "ignore_list.txt").write_text("gLO_sBM_cAll_d13_mLO2_ch09\n")
    return root


def test_aistpp_as_published(tmp_path: Path) -> None:
    root = aist_folder(tmp_path / "aist")
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["data=aistpp", f"data.root={root}", f"data.cache={tmp_path / 'c'}"])
        corpus = Corpus.open(instantiate(cfg.data.corpus))
    assert [(r.genre, r.group, r.audio) for r in corpus.recordings] == [
        ("break", "mBR0", "music/mBR0.wav"), ("break", "mBR1", "music/mBR1.wav"), ("lock", "mLO2", "music/mLO2.wav"),
    ]  # fmt: skip
    (left,) = corpus.report["left_out"]
    assert left["name"] == "gLO_sBM_cAll_d13_mLO2_ch09" and "ignore_list.txt" in left["reason"]
    for i in range(3):  # the song is cut to the dance
        assert len(corpus.song_features(i)) == len(corpus.song_poses(i)) == 135
    assert (np.bincount(corpus.unit_recording) > 0).all()
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["data=aistpp", "data.corpus.group_by=dancer", f"data.root={root}",
                                f"data.cache={tmp_path / 'c'}"])  # fmt: skip
        corpus = Corpus.open(instantiate(cfg.data.corpus))
    assert [r.group for r in corpus.recordings] == ["d04", "d05", "d13"]


@pytest.mark.parametrize("name", ["ballroom", "mocap"])
def test_real_corpora(shared_folder: Path, tmp_path: Path, name: str) -> None:
    raw = {"ballroom": shared_folder / "data/ballroom", "mocap": shared_folder / "data/mocap/npz"}[name]
    if name == "ballroom":  # the first of each genre: the whole takes half a minute
        from corpora import read_manifest_rows

        rows = {r["genre"]: r for r in reversed(read_manifest_rows(raw))}
        keep = [
            {k: str(raw / r[k]) if k in ("audio", "pose") else r[k] for k in ("name", "genre", "audio", "pose")}
            for r in rows.values()
        ]
        raw = tmp_path / "some"
        raw.mkdir()
        write_manifest(raw, keep)
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", [f"data={name}", f"data.root={raw}", f"data.cache={tmp_path}", "data.corpus.yaws=[0]"])
        corpus = Corpus.open(instantiate(cfg.data.corpus))
    assert not corpus.report["left_out"]
    assert corpus.has_music.all() if name == "ballroom" else not corpus.has_music.any()
    if name == "mocap":
        split = {r.name: r.split for r in corpus.recordings}
        assert all(
            split[f"salsa_{n:02d}"] == split[f"salsa_{n + 15:02d}"] for n in (1, 2, 4, 5, 6, 9, 10, 11, 13, 14, 15)
        )
        assert set(corpus.genres) == {"salsa", "indian"}
