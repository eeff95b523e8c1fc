"""Quoting, last-wins, types and one-line errors."""

import errno
import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from d2m.cli.command_line import check_types, one_line, prepare_overrides, run
from d2m.core.errors import D2MError

CONF = str(Path(__file__).parents[2] / "conf")
NASTY = [
    "a song.mp3", "[live].ogg", "(1) & b=c.wav", "it's.ogg", "a,b.wav", "100%.wav", "x{y}.wav", "${now}.wav",
    "back\\slash.wav", "ends\\", 'quo"te.wav', "q'", "ünï.wav", "~tilde", "a: b #c.wav", "+plus.wav", "null.wav",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_any_path_survives_hydra(name: str) -> None:
    overrides = prepare_overrides([f"audio={name}", "bundle=b", "out=o"])
    with initialize_config_dir(CONF, version_base="1.3"):
        assert compose("infer", overrides).audio == name


def test_quoted_values_and_other_keys_stay() -> None:
    assert prepare_overrides(["audio='x y'", "seed=3", "-m", "stages=[a,b]", "out="]) == [
        "audio='x y'", "seed=3", "-m", "stages=[a,b]", "out=",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [["a", "b c/d=e"], ["x(1)", "[live]", "it's", "${now}"], ["one"]])
def test_a_list_of_data_folders(names: list[str]) -> None:
    override = f"data.root=[{','.join(names)}]"
    once = prepare_overrides([override])
    assert prepare_overrides(once) == once
    with initialize_config_dir(CONF, version_base="1.3"):
        assert list(compose("train", ["data=corpus", *once]).data.root) == names


def test_a_data_folder_in_brackets_stays_one(tmp_path: Path) -> None:
    (tmp_path / "[a,b]").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert prepare_overrides(["data.root=[a,b]"]) == ["data.root='[a,b]'"]


def test_preparing_twice_changes_nothing() -> None:
    once = prepare_overrides([f"audio={n}" for n in NASTY[:1]] + ["hydra.run.dir=a/${now:%Y}"])
    assert prepare_overrides(once) == once


def test_the_last_of_two_wins() -> None:
    assert prepare_overrides(["seed=1", "data=a", "seed=2", "data=b"]) == ["seed=2", "data=b"]


@pytest.mark.parametrize(
    ("value", "default", "ok"),
    [
        (1, 0, True), ("x", 0, False), (True, 0, False), (1, 0.5, True), ("1", 0.5, False), (1.5, 0, False),
        (True, False, True), ("maybe", False, False), ("x", "y", True), ("x", None, True), ([1], [], True),
        (1, [], False),
    ],
)  # fmt: skip
def test_types(value: object, default: object, ok: bool) -> None:
    if ok:
        check_types({"k": value}, {"k": default})
    else:
        with pytest.raises(D2MError, match=r"^k="):
            check_types({"k": value}, {"k": default})


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
    from d2m.core.files import write_json

    (tmp_path / "a.json").mkdir()
    with pytest.raises(D2MError, match=r"a\.json"):
        write_json(tmp_path / "a.json", {"x": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, 2), (errno.EROFS, 2), (errno.ENOTDIR, 2)])
def test_a_full_or_read_only_disk_is_one_line(error: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise OSError(error, os.strerror(error), "some/file")

    with pytest.raises(SystemExit) as left:
        run(main)
    assert left.value.code == code
    assert capsys.readouterr().err.startswith("error: some/file: ")


def test_other_errors_of_the_system_stay_tracebacks() -> None:
    def main() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        run(main)
