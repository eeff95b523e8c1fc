"""A preparation killed with -9 and started again ends byte-identical to an uninterrupted one."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from corpora import tree, write_raw

from d2m.data.manifest import Recording
from d2m.prepare import parts
from d2m.prepare.plan import SplitOptions
from d2m.prepare.process import Options, Prepared, process
from d2m.prepare.run import prepare_into
from tests.commands import d2m

NAMES = {"a": "groove", "b": "groove", "c": "flow", "d": "flow"}

OPTIONS = Options(yaws=(0.0,), front_end="mfcc")


def prepare_in_a_child(raw: Path, out: Path, kill_at: int) -> int:
    """Prepare in a forked process, which kills itself before its k-th rename, removal or new folder; -1: never.

    Returns the signal that ended it, or 0.
    """
    if pid := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status <= 0
        return -status
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*a: Any, **k: Any) -> Any:
            nonlocal calls
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return real(*a, **k)

        return call

    try:
        for name in ("replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        prepare_into(out, raw, OPTIONS, SplitOptions(), workers=1)
        os._exit(0)
    except BaseException as e:
        print(repr(e), file=sys.stderr, flush=True)
        os._exit(1)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), NAMES, seconds=6.0)


def test_killed_before_any_rename(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: dict[str, Prepared] = {}

    def once(recording: Recording, options: Options) -> Prepared:
        """Every process writes the same recordings: they are computed by the first, the test's own."""
        if recording.name not in prepared:
            prepared[recording.name] = process(recording, options)
        return prepared[recording.name]

    monkeypatch.setattr(parts, "process", once)
    prepare_into(tmp_path / "whole", raw, OPTIONS, SplitOptions(), workers=1)
    whole = tree(tmp_path / "whole")
    points = [0, 1, 3, 4, 7, 10, 13, 16, 20, 25, 30, 34, 36, 38]
    ends = []
    for k in points:
        out = tmp_path / f"killed-{k}"
        ends.append(prepare_in_a_child(raw, out, k))
        assert prepare_in_a_child(raw, out, -1) == 0, k
        assert tree(out) == whole, f"killed at {k}"
    assert ends.count(signal.SIGKILL) >= 10, ends  # the last points may lie beyond the end


def test_the_command_killed_from_outside(raw: Path, tmp_path: Path) -> None:
    words = ["prepare", f"raw={raw}", "yaws=[0.0]", "workers=1", "front_end=mfcc"]
    process = get_context("fork").Process(target=d2m, args=(*words, f"out={tmp_path / 'o'}"))
    process.start()
    while process.is_alive():
        if len(list((tmp_path / "o").glob("parts/*/*.npz"))) >= 2:
            process.kill()
            break
        time.sleep(0.005)
    process.join(120)
    assert process.exitcode in (-signal.SIGKILL, 0)
    for folder in ("o", "alone"):
        d2m(*words, f"out={tmp_path / folder}")
    assert tree(tmp_path / "o") == tree(tmp_path / "alone")
