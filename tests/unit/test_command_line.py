"""The parser: any text is preserved, keys that nothing reads are refused, errors are one line, help is fast."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from d2m.bundle.passport import Begun
from d2m.bundle.run_folder import RunFolder
from d2m.cli.command_line import one_line, run
from d2m.cli.commands import COMMANDS, conf_dir
from d2m.cli.job import job
from d2m.cli.main import dispatch
from d2m.cli.overrides import check_types, prepare_overrides, read_settings
from d2m.cli.train import check_data_root
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from tests.commands import called, d2m

CONF = str(Path(__file__).parents[2] / "conf")
NASTY = [
    "a song.mp3", "[live].ogg", "(1) & b=c.wav", "it's.ogg", "a,b.wav", "100%.wav", "x{y}.wav", "${now}.wav",
    "back\\slash.wav", "ends\\", 'quo"te.wav', "q'", "ünï.wav", "~tilde", "a: b #c.wav", "+plus.wav", "null.wav",
]  # fmt: skip
GENRES = [
    "R&B", "Música", "#1", "drum'n'bass", "rock'n'roll", "House, Deep", "k-pop (girl)", "hip hop: old", "케이팝",
    "1970", "+x", "~", "~x", "$y", "[a]", "{a:b}", "true", "a=b", "'70s rock", "C:\\x\\", "50%", "range(3)", "a,b",
]  # fmt: skip

TEXTS_OF_TRAIN = ("project", "callbacks.latent.source", "data.name")


def composed(config: str, *words: str) -> Any:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose(config, prepare_overrides(words))


@pytest.mark.parametrize("name", NASTY)
def test_any_path_survives_hydra(name: str) -> None:
    assert composed("infer", f"music={name}", "bundle=b", "out=o").music == name


@pytest.mark.parametrize("genre", GENRES)
def test_any_text_survives_hydra(genre: str) -> None:
    cfg = composed("infer", f"edit.source={genre}", f"edit.target={genre}")
    assert cfg.edit.source == genre and OmegaConf.to_container(cfg)["edit"]["target"] == genre
    assert composed("prepare", f"licence={genre}").licence == genre
    assert read_settings({"source": None}, [f"source={genre}"]) == {"source": genre}
    # Hydra reads a value alike whatever its key is: these are written alike.
    written = prepare_overrides([f"{key}={genre}" for key in ("edit.source", *TEXTS_OF_TRAIN)])
    assert len({word.partition("=")[2] for word in written}) == 1


@pytest.mark.parametrize("n", range(0, len(GENRES), 3))
def test_any_text_survives_hydra_in_train(n: int) -> None:
    texts = dict(zip(TEXTS_OF_TRAIN, (GENRES * 2)[n : n + 3], strict=True))
    cfg = composed("train", "callbacks=latent", *(f"{key}={text}" for key, text in texts.items()))
    assert {key: OmegaConf.select(cfg, key) for key in texts} == texts


def test_text_of_keys_that_the_table_does_not_know() -> None:
    """Quoted if Hydra cannot read it otherwise."""
    for note in ("R&B (live)", "Música"):
        assert composed("train", f"+logger.note={note}").logger.note == note
    assert prepare_overrides(["model.du_vae.lr=1e-3,2e-3", "data.shift=[1, 2]", "seed=${x}"]) == [
        "model.du_vae.lr=1e-3,2e-3", "data.shift=[1, 2]", "seed=${x}",
    ]  # fmt: skip


def test_home_is_expanded_in_every_key_but_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    cfg = composed("train", "data=corpus", "data.root=[~/x,'~/y']", "data.cache=~", "init_from.du_vae=~/c.ckpt",
                   "project=~/p", "+data.corpus.out_root='~/o'")  # fmt: skip
    assert list(cfg.data.root) == ["/home/a b/x", "/home/a b/y"] and cfg.data.cache == "/home/a b"
    assert cfg.init_from.du_vae == "/home/a b/c.ckpt" and cfg.project == "~/p"
    assert cfg.data.corpus.out_root == "/home/a b/o"
    assert prepare_overrides(["hydra.run.dir=~/r/${now:%Y}", "hydra.launcher.submitit_folder=~/s"]) == [
        "hydra.run.dir='/home/a b/r/${now:%Y}'", "hydra.launcher.submitit_folder='/home/a b/s'",
    ]  # fmt: skip
    seen = []
    own = OmegaConf.create({"root": "~/r", "many": ["~/x", 1], "project": "~", "same": "${root}", "missing": None})
    job("train")(seen.append)(own)
    assert OmegaConf.to_container(seen[0], resolve=True) == {
        "root": "/home/a b/r", "many": ["/home/a b/x", 1], "project": "~", "same": "/home/a b/r", "missing": None,
    }  # fmt: skip


def test_a_users_run_folder_is_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """From a config of the user's own, where nothing is quoted; no folder named ~ is made."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {run: {dir: ~/runs}}\nproject: mine\n"
    (tmp_path / "my" / "experiment" / "mine.yaml").write_text(text)
    d2m("train", "experiment=mine", "--config-dir", "my", "--cfg", "all")
    shown = OmegaConf.create(capfd.readouterr().out)
    assert shown.hydra.run.dir == str(tmp_path / "home" / "runs") and shown.project == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["my"]


def test_quoted_values_and_other_keys_stay() -> None:
    assert prepare_overrides(["music='x y'", "seed=3", "-m", "stages=[a,b]", "out="]) == [
        "music='x y'", "seed=3", "-m", "stages=[a,b]", "out=",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [["a", "b c/d=e"], ["x(1)", "[live]", "it's", "${now}"], ["one"]])
def test_a_list_of_data_folders(names: list[str]) -> None:
    override = f"data.root=[{','.join(names)}]"
    once = prepare_overrides([override])
    assert prepare_overrides(once) == once
    assert list(composed("train", "data=corpus", *once).data.root) == names


def test_a_data_folder_in_brackets_stays_one(tmp_path: Path) -> None:
    (tmp_path / "[a,b]").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert prepare_overrides(["data.root=[a,b]"]) == ["data.root='[a,b]'"]


def test_a_sweep_may_choose_between_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["init_from.mm_gan=choice(~/a=1.ckpt, 'b, c.ckpt')", "hydra.sweep.dir=choice(a)"]
    told = prepare_overrides(asked)
    assert told == [f"init_from.mm_gan=choice('{Path.home()}/a=1.ckpt','b, c.ckpt')", "hydra.sweep.dir='choice(a)'"]
    assert prepare_overrides(told) == told
    (tmp_path / "choice(x)").mkdir()
    assert prepare_overrides(["data.root=choice(x)"]) == ["data.root='choice(x)'"]


def test_a_name_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """d2m evaluate data=FOLDER, d2m score card=FILE; in d2m train, data is a group."""
    monkeypatch.chdir(tmp_path)
    for name in NASTY:
        (tmp_path / name).mkdir()
    with initialize_config_dir(str(Path(CONF) / "measure"), version_base="1.3"):
        for name in NASTY[::2]:
            assert compose("evaluate", prepare_overrides([f"data={name}"])).data == name
        for name in NASTY[1::2]:
            assert compose("score", prepare_overrides([f"card={name}"])).card == name
        assert list(compose("score", prepare_overrides(["card=[d2m,edge]"])).card) == ["d2m", "edge"]
    assert prepare_overrides(["data=ballroom,mocap"]) == ["data=ballroom,mocap"]


def test_preparing_twice_changes_nothing() -> None:
    words = [f"music={n}" for n in NASTY[:1]] + ["hydra.run.dir=a/${now:%Y}", "edit.source=R&B", "+x=k-pop (girl)"]
    once = prepare_overrides(words)
    assert prepare_overrides(once) == once


def test_the_last_of_two_wins() -> None:
    assert prepare_overrides(["seed=1", "data=a", "seed=2", "data=b"]) == ["seed=2", "data=b"]


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "sede=3"], r"sede: no such key, nothing reads it; did you mean seed\?"),
        (["train", "+fps=25"], r"\+fps: no such key, nothing reads it"),
        (["train", "++data.fps=25"], r"\+\+data\.fps: no such key"),
        (["train", "trainer.max_epochs=3"], r"trainer\.max_epochs: give fit\.STAGE\.max_epochs"),
        (["train", "+trainer.max_epochs=3"], r"\+trainer\.max_epochs: give fit\.STAGE\.max_epochs"),
        (["train", "+trainer.callbacks=[x]"], r"give callbacks=GROUP"),
        (["train", "+trainer.detect_anomaly=1"], r"\+trainer\.detect_anomaly=1: expected true or false"),
        (["train", "+trainer.bench_mark=true"], r"\+trainer\.bench_mark: no such key"),
        (["train", "trainer.benchmark=true"], r"add it as \+trainer\.benchmark=true"),
        (["train", "+model.du_vae.weights.sift=1"], r"did you mean model\.du_vae\.weights\.shift"),
        (["train", "model.du_vea.lr_final=1"], r"did you mean model\.du_vae\.lr_final"),
        (["train", "+seed=3"], r"\+seed: already in the config; write seed=3"),
        (["train", "seed=x"], "seed=x: expected a whole number"),
        (["train", "seed=null"], "seed=null: give a value"),
        (["train", "seed=1,2"], r"seed=1,2: several values; .* -m"),
        (["train", "-m", "seed=1,x"], "seed=x: expected a whole number"),
        (["train", "fit.du_vae=3"], r"fit\.du_vae=3: expected its keys"),
        (["train", "torch_threads=two"], "torch_threads=two: expected a whole number"),
        (["train", "data=ballrom"], r"data=ballrom: did you mean ballroom\? choose from aistpp"),
        (["train", "logger=null"], "logger=null: choose from csv"),
        (["train", "--nonsense"], "unrecognized arguments: --nonsense; d2m train --help"),
        (["train", "--config-dir", "nowhere"], "nowhere: no such folder"),
        (["train", "-m", "seed=1,2", "--cfg", "job"], "--cfg and --info show one config; leave -m out"),
        (["train", "hparams_search=optuna", "seed=1,2", "--cfg", "job"], "seed=1,2: several values; --cfg and --info"),
        (["train", "song.ogg"], "'song.ogg': write key=value"),
        (["train", "init_from={du_vae: ~/x}"], "quote its strings"),
        (["infer", "edit=nonsense"], "edit=nonsense: .*choose from axes, boundary"),
        (["infer", "edit.sorce=a"], r"did you mean edit\.source"),
        (["infer", "edit=optimise", "+edit.weights.beats=1"], r"did you mean edit\.weights\.beat"),
        (["infer", "song=a"], r"song: no such key, nothing reads it; did you mean music\?"),
        (["studio", "songs=a"], r"songs: no such key, nothing reads it; did you mean music"),
        (["infer", "bundle=b"], r"give music=\.\.\. out=\.\.\.; d2m infer --help"),
        (["infer", "-m", "seed=1,2"], "-m: the runs of d2m infer would overwrite each other"),
        (["infer", "video=perhaps"], "video=perhaps: expected true or false"),
        (["prepare", "+fsp=25"], r"\+fsp: no such key"),
        (["study", "fit", "edit=boundary", "shrinkage=much"], "shrinkage=much: expected a number"),
        (["study", "fit", "windw=3"], r"did you mean window"),
        (["import-original", "--stage1", "x"], "unrecognized arguments"),
        (["import-original"], r"give out=\.\.\. stage1=\.\.\. stage2=\.\.\. style="),
        (["trian"], r"d2m trian: no such command; did you mean d2m train\?"),
        (["study", "paint"], "d2m study paint: no such command"),
        (["train", "=3"], "'=3': write key=value"),
        (["train", "~stages"], r"~stages: d2m train reads this key; .*stages=\.\.\."),
        (["train", "~stage"], r"~stage: no such key.*did you mean stages"),
        (["train", "hydra.run.dir="], r"hydra\.run\.dir=: give a folder"),
        (["train", "+hydra.run.dirr=x"], r"\+hydra\.run\.dirr: no such key.*hydra\.run\.dir "),
        (["train", "-m", "seed=range(5,1)"], r"seed=range\(5,1\): an empty range"),
        (["train", "hparams_search=optuna", "+hydra.sweeper.sampler.foo=1"], r"sampler\.foo: no such key"),
        (["train", "launcher=slurm", "+hydra.launcher.partiton=x"], r"did you mean hydra\.launcher\.partition"),
        (["train", "resume=yes"], "resume=yes: no run in this folder.*or resume=auto"),
        (["train", "seed=${nope}"], r"'nope' not found \(seed\)$"),
        (["infer", "hydra.run.dir=x"], r"hydra\.run\.dir: d2m infer writes to out="),
        (["runs", "ls", "hydra.mode=MULTIRUN"], "-m: the runs of d2m runs ls"),
        (["runs", "ls", "--resolve"], "--resolve: is a flag of --cfg"),
        (["runs", "ls", "--run", "--cfg", "job"], "--run --cfg: give one of them"),
        (["runs", "ls", "--config-path", "/x"], "--config-path=/x: give --config-dir=/x"),
    ],
)
def test_what_nothing_reads_is_refused(words: list[str], told: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = called(words[0], *words[1:])
    assert refused.returncode == 2 and not list(tmp_path.iterdir())
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ") and re.search(told, line), line


@pytest.mark.parametrize(
    "words",
    [
        ["train", "+trainer.benchmark=true", "+trainer.limit_train_batches=2", "trainer.devices=auto"],
        ["train", "+data.corpus.beats=librosa", "data=ballroom", "+data.corpus.clean.max_filled=0.5"],
        ["train", "hparams_search=grid", "~callbacks.dance_video", "model.mm_gan.anneal_midpoint=null"],
        ["train", "data=mocap", "+data.corpus.groups.pair=[a,b]", "fit.du_vae.steps_per_epoch=null"],
        ["train", "experiment=quickstart", "hydra.job.name=x", "+hydra.job.env_set.A=b"],
        ["prepare", "clean={max_filled:0.5}", "groups={p:[a,b]}", "max_gap_s=null", "workers=2", "licence=null"],
        ["infer", "edit=mean_shift", "edit.schedule=[[0,0],[30,1]]"],
        ["study", "extract", "window=4", "out=a=b [c]", "logger=wandb"],
        ["collect", "min_s=3"],
        ["import-original", "genres=[R&B,b]"],
    ],
)
def test_what_is_read_is_taken(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    d2m(*words, "--cfg", "job")
    assert OmegaConf.create(capfd.readouterr().out)


def test_experiments_combine_with_any_data(capfd: pytest.CaptureFixture[str]) -> None:
    """And experiment=null, as --help prints it, is no experiment."""
    roots = {"corpus": "roots", "ballroom": "raw_root", "synthetic": "n_songs_per_genre"}
    for data, argument in roots.items():
        d2m("train", "experiment=quickstart", f"data={data}", "--cfg", "job")
        shown = OmegaConf.create(capfd.readouterr().out)
        assert argument in shown.data.corpus and shown.size.z_dan == 32
        assert ("n_songs_per_genre" in shown.data.corpus) == (data == "synthetic")
    d2m("train", "experiment=null", "hparams_search=null", "--cfg", "job")
    assert OmegaConf.create(capfd.readouterr().out).size.unit_hidden == 256


def test_trainer_options_of_a_users_own_config_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "trainer").mkdir(parents=True)
    (tmp_path / "my" / "trainer" / "mine.yaml").write_text("defaults: [cpu]\nmax_epochs: 2\n")
    with pytest.raises(D2MError, match=r"trainer\.max_epochs: give fit\.STAGE\.max_epochs"):
        d2m("train", "trainer=mine", "--config-dir", "my", f"hydra.run.dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()  # Hydra made it; nothing of a refused run stays


def test_a_data_folder_that_is_not_there_is_named() -> None:
    for words, told in (
        (["data=ballroom", "data.root=../no where"], r"data\.root=\.\./no where: no such folder; give data\.root="),
        (["data=corpus"], r"data=corpus needs data\.root=FOLDER"),
        (["data=corpus", "data.root=[/,/none]"], r"data\.root=/none: no such folder"),
    ):
        with pytest.raises(D2MError, match=told):
            check_data_root(composed("train", *words).data)
    check_data_root(composed("train").data)


def test_lightning_restarts_the_very_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its launcher takes sys.argv and hydra.run.dir; a job of a sweep must not sweep again."""
    from hydra.core.hydra_config import HydraConfig

    from d2m.train import curriculum
    from d2m.train.identity import Company

    seen = []

    def watch(cfg: Any, run_dir: Path, overrides: Any, company: Company, begun: Begun) -> Path:
        # Trials that train the same are the sweep's business; their stages are shared.
        assert company == Company(beside=None, reuse=run_dir.parent, trial=None)
        assert HydraConfig.get().run.dir == str(run_dir)
        seen.append((sys.argv[1:], run_dir.name))
        return run_dir

    monkeypatch.setattr(curriculum, "run", watch)
    monkeypatch.setattr(sys, "argv", ["d2m", "train"])
    (tmp_path / "my").mkdir()
    monkeypatch.setenv("D2M_TRACEBACK", "1")
    words = ["train", "-m", "--config-dir", str(tmp_path / "my"), "project=a b", "seed=1,2"]
    dispatch([*words, f"hydra.sweep.dir={tmp_path}/s"], ["train"])
    start = ["train", "--config-dir", str(tmp_path / "my"), "project='a b'"]
    assert seen == [([*start, f"seed={i + 1}", "hydra.mode=RUN"], str(i)) for i in range(2)]


# -- types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "default", "ok"),
    [
        (1, 0, True), ("x", 0, False), (True, 0, False), (1, 0.5, True), ("1", 0.5, False), (1.5, 0, False),
        (True, False, True), ("maybe", False, False), ("x", "y", True), ("x", None, True), ([1], [], True),
        (1, [], False), (None, True, False), (None, 0.5, True), (None, [1], False), ("${x}", 1, True),
        (3, {"a": 1}, False), ({"b": 2}, {"a": 1}, True), (None, {"a": 1}, True), (None, "", True),
        (None, "cpu", False),
    ],
)  # fmt: skip
def test_types(value: object, default: object, ok: bool) -> None:
    if ok:
        check_types({"k": value}, {"k": default})
    else:
        with pytest.raises(D2MError, match=r"^k="):
            check_types({"k": value}, {"k": default})


def test_settings_of_an_experiment() -> None:
    defaults = {"out": None, "seed": 0, "minutes": 4.0, "keep": True, "name": "x"}
    given = read_settings(defaults, ["out=a=b [c]", "seed=1", "seed=2", "minutes=5", "keep=false", "name='q'"])
    assert given == {"out": "a=b [c]", "seed": 2, "minutes": 5.0, "keep": False, "name": "q"}
    assert isinstance(given["minutes"], float)
    for bad in ("seed=1.5", "keep=maybe", "minutes=wide", "colour=red", "out"):
        with pytest.raises(D2MError):
            read_settings(defaults, [bad])


# -- errors and help ----------------------------------------------------------------------------------------------


def test_one_line_finds_the_users_error_in_a_chain() -> None:
    try:
        try:
            raise D2MError("inner")
        except D2MError as e:
            raise RuntimeError("outer\nwith lines") from e
    except RuntimeError as e:
        assert one_line(e) == "inner"
    assert one_line(RuntimeError("a\n  b")) == "a b"


def test_run_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise D2MError("this file: do that")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: this file: do that\n"


def test_a_json_that_cannot_be_written_is_an_error_of_use(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(D2MError, match=r"a\.json"):
        write_json(tmp_path / "a.json", {"x": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_is_on_disk_before_it_replaces_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    monkeypatch.setattr(os, "replace", lambda a, b: replace(a, b) if synced else pytest.fail("not synced"))
    write_json(tmp_path / "a.json", {"x": 1})
    assert synced == [(tmp_path / "a.json").stat().st_size]


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, 2), (errno.EROFS, 2), (errno.ENOTDIR, 2)])
def test_a_full_or_read_only_disk_is_one_line(error: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise OSError(error, os.strerror(error), "some/file")

    with pytest.raises(SystemExit) as left:
        run(main)
    assert left.value.code == code
    assert capsys.readouterr().err.startswith("error: some/file: ")


def test_a_full_disk_names_the_folder_if_the_error_names_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as writing to an open file

    monkeypatch.setattr("d2m.cli.train._train", train)
    done = called("train", "stages=[du_vae]", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.stderr == f"error: {tmp_path / 'run'}: No space left on device; free space or choose another folder\n"


@pytest.mark.parametrize(
    ("flag", "blocks", "told"), [(0, 9, "no space left on this disk"), (os.ST_RDONLY, 10**6, "read-only file system")]
)
def test_a_disk_that_takes_no_run_is_told_before_anything_is_made(
    flag: int, blocks: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(f_flag=flag, f_bavail=blocks, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    for key, words in (("hydra.run.dir", []), ("hydra.sweep.dir", ["-m", "seed=0,1"])):
        done = called("train", *words, f"{key}={tmp_path / 'new'}")
        assert done.returncode == 2 and re.fullmatch(rf"error: .*/new: .*{told}.* another {key}\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_ends_a_command(tmp_path: Path) -> None:
    code = "from d2m.cli.command_line import run; run(lambda: print('x' * 10**6, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_other_errors_of_the_system_stay_tracebacks() -> None:
    def main() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        run(main)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_key_and_its_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    dispatch([*name.split(), "--help"])
    told = capsys.readouterr().out
    assert told.startswith(f"usage: d2m {name} key=value") and f"    d2m {name} " in told and "--cfg job" in told
    config = OmegaConf.to_container(OmegaConf.load(COMMANDS[name].path()))
    assert isinstance(config, dict)
    for key, default in config.items():
        if key not in ("defaults", "hydra"):
            assert f"  {key}=" in told, key
            assert default != "???" or f"  {key}=(required)" in told
    assert all(len(line) <= 130 for line in told.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_that_help_shows_are_taken(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    dispatch([*name.split(), "--help"])
    shown = re.findall(r"^    d2m (.*)$", capfd.readouterr().out, re.MULTILINE)
    assert shown
    for line in shown:
        words = re.split(r" {3,}| +\(| && ", line)[0].split()
        words = [re.sub(r"^([^\[]*?),.*", r"\1", w.strip("'")) for w in words]  # of a sweep's values the first
        d2m(*(w for w in words if w not in ("...", "-m") and "launcher=" not in w), "--cfg", "job")


def test_help_shows_a_comment_above_keys_that_have_their_own_as_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["prepare", "--help"])
    told = capsys.readouterr().out
    assert re.search(r"^\n  What a file leaves out .+\.\n  fps=null +frames per second$", told, re.MULTILINE)


def test_help_lists_the_choices_of_a_group_below_another(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["train", "--help"])
    told = capsys.readouterr().out
    assert re.search(r"^  model/music_style=statistics\n      paper +The paper's network", told, re.MULTILINE)


def test_help_of_all_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch([])
    told = capsys.readouterr().out
    assert all(f"  d2m {name} " in told for name in COMMANDS)
    dispatch(["study", "--help"])
    assert "d2m study fit" in (told := capsys.readouterr().out) and "d2m train" not in told
    dispatch(["--version"])
    assert capsys.readouterr().out == "d2m 0.1.0\n"


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from d2m.cli.main import dispatch; dispatch(['--help']); dispatch(['infer', '--help']);"
        "print([m for m in ('torch', 'pytorch_lightning', 'hydra', 'librosa', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_new_run_is_shown_before_torch_is_loaded(tmp_path: Path) -> None:
    code = "import sys; from tests.commands import d2m; import d2m.cli.train as t; "
    code += "t._train = lambda *_: print('torch' in sys.modules); d2m(*sys.argv[1:])"
    words = ["train", "experiment=quickstart", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "False\n", done.stderr
    facts = RunFolder(tmp_path / "run").facts()
    assert facts["stage"] == "start" and facts["overrides"] == ["experiment=quickstart"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_sent_to_a_cluster(name: str) -> None:
    function = COMMANDS[name].load()
    assert pickle.loads(pickle.dumps(function)) is function


def test_collects_config_has_the_functions_defaults() -> None:
    from d2m.prepare.collect import OPTIONS

    plain = OmegaConf.to_container(OmegaConf.load(conf_dir() / "collect.yaml"))
    assert isinstance(plain, dict)
    assert {**plain, "manifest": "", "out": ""} == OPTIONS


def test_resume_auto_begins_a_run_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    from d2m.cli.resume import begin

    words = ["seed=1", f"hydra.run.dir={tmp_path / 'new'}", "resume=auto"]
    begun = begin(prepare_overrides(words), only_shown=False)
    assert begun is not None and "seed=1" in begun and not (tmp_path / "new").exists()


def test_a_key_by_its_earlier_name_is_taken() -> None:
    """Scripts say ``infer audio=``."""
    done = called("infer", "bundle=b", "audio=My song's $1.wav", "out=o", "--cfg", "job")
    assert done.returncode == 0 and done.stderr == "audio= is now music=\n"
    assert "music: My song's $1.wav" in done.stdout
