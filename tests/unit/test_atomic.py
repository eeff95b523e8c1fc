"""Files that appear together or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from d2m.core.errors import D2MError
from d2m.core.files import appear_together, csv_rows, write_json


def test_files_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with appear_together(tmp_path) as part:
        (part / "a.txt").write_text("new")
        (part / "b.txt").write_text("b")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "b"}


def test_a_folder_comes_in_place_of_an_older_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with appear_together(tmp_path) as part:
            (part / "frames").mkdir()
            (part / "frames" / f"{name}.json").write_text(name)
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["frames", "frames/new.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), D2MError, ValueError()])
def test_after_an_error_everything_is_as_before(error: object, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    wanted = ValueError if isinstance(error, ValueError) else D2MError
    with pytest.raises(wanted) as raised, appear_together(tmp_path) as part:
        (part / "a.txt").write_text("new")
        raise D2MError(f"{part / 'a.txt'}: full") if error is D2MError else error  # type: ignore[misc]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old"}
    if wanted is D2MError:
        assert str(tmp_path) in str(raised.value) and ".tmp" not in str(raised.value)


def test_json_that_cannot_be_written_is_an_error_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(D2MError, match=r"facts\.json.*No space left"):
        write_json(tmp_path / "facts.json", {})
    assert not list(tmp_path.iterdir())


def test_what_is_not_written_anew_goes_with_the_others(tmp_path: Path) -> None:
    for name in ("a.npz", "a.mp4", "b.mp4"):
        (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError), appear_together(tmp_path, instead_of=["a.mp4"]) as part:
        (part / "a.npz").write_text(str(1 / 0))
    assert (tmp_path / "a.mp4").read_text() == "old"
    with appear_together(tmp_path, instead_of=["a.mp4"]) as part:
        (part / "a.npz").write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.mp4"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import signal, sys, time; from d2m.core.files import appear_together, exit_on_signals\n"
        # Tests that run in the background inherit both as ignored.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "exit_on_signals()\n"
        "with appear_together(sys.argv[1]): print('in', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    if number == signal.SIGKILL:  # nothing can be done then: the next run removes it
        assert len(list(tmp_path.iterdir())) == 1
        with appear_together(tmp_path) as part:
            assert list(tmp_path.iterdir()) == [part]
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_not_there_is_not_called_unreadable(tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=r"songs\.csv: no such file$"):
        csv_rows(tmp_path / "songs.csv", ("song", "genre"))
    (tmp_path / "songs.csv").write_bytes(b"song,genre\n\xff\xfe,a\n")
    with pytest.raises(D2MError, match=r"not readable as CSV; save it in UTF-8 with the columns song and genre"):
        csv_rows(tmp_path / "songs.csv", ("song", "genre"))
