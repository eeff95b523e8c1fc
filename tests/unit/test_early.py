"""Processes of one run that wait for each other while one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.train.early import PARENT, ended_at_once, let_signals_wait, waiting
from d2m.train.requeue import Cut, Requeue, heed

WATCH = "import time; from d2m.train.early import watch_parent as w; w(); w(); print('up', flush=True); time.sleep(60)"


def test_a_process_whose_parent_went_while_it_was_loading_ends() -> None:
    """Its parent is this process, the one that it was started by another one, which is gone."""
    env = {**os.environ, PARENT: "1", "LOCAL_RANK": "1"}
    done = subprocess.run([sys.executable, "-c", WATCH], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "error: the first process of this run is gone; the others were ended\n"


def test_a_process_ends_after_its_parent() -> None:
    """The process between starts another one, and waits to be killed."""
    between = f"import os, subprocess, sys; os.environ['{PARENT}'] = str(os.getpid()); "
    between += f"subprocess.run([sys.executable, '-c', {WATCH!r}])"
    with subprocess.Popen([sys.executable, "-c", between], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "up\n"
        parent.kill()
        assert parent.stdout.read() == ""  # its end: the last process that could write to it has gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_do_not_wait_for_other_processes(number: int) -> None:
    child = os.fork()
    if child == 0:
        signal.signal(number, lambda *_: None)
        with ended_at_once():
            signal.raise_signal(number)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    before = signal.getsignal(number)
    with ended_at_once():
        pass
    assert signal.getsignal(number) == before


def test_a_job_that_is_told_to_go_while_it_loads_is_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("d2m.train.requeue._scontrol", lambda *words: asked.append(words) or "")
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        let_signals_wait()
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Cut) as cut, Requeue(RunFolder(tmp_path)):
            heed()
        assert cut.value.state == "requeued" and asked == [("requeue", "7")] and waiting() is None
        with Requeue(RunFolder(tmp_path)):
            heed()  # once
    finally:
        signal.signal(signal.SIGUSR1, before)
