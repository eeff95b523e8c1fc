"""A preparation killed with -9 and started again ends byte-identical to an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import tree, write_raw

from tests.commands import d2m

REPO = Path(__file__).parents[2]
NAMES = {"a": "groove", "b": "groove", "c": "flow", "d": "flow"}

# Forks after the imports and one warm recording (on one thread), so that these are paid for once. Each child
# kills itself before its k-th rename or removal; the next child, in the same folder, is left alone.
DRIVER = """
import os, signal, sys
from pathlib import Path
from d2m.prepare.plan import SplitOptions
from d2m.prepare.run import prepare_into
from d2m.prepare.process import Options
from d2m.data.manifest import read_manifest
from d2m.prepare.process import process
import pyarrow.ipc, torch

OPTIONS = Options(yaws=(0.0,), front_end="mfcc")
raw, base = Path(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
process(read_manifest(raw)[0], OPTIONS)

def child(out, kill_at):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    calls = [0]
    def counted(real):
        def call(*a, **k):
            if calls[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls[0] += 1
            return real(*a, **k)
        return call
    for name in ("replace", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    try:
        prepare_into(out, raw, OPTIONS, SplitOptions(), workers=1)
        os._exit(0)
    except BaseException as e:
        print(repr(e), file=sys.stderr, flush=True)
        os._exit(1)

assert child(base / "whole", -1) == 0
for k in map(int, sys.argv[3].split(",")):
    out = base / f"killed-{k}"
    status = child(out, k)
    print(k, status, (out / "corpus.json").exists(), flush=True)
    assert child(out, -1) == 0, k
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), NAMES, seconds=6.0)


def test_killed_before_any_rename(raw: Path, tmp_path: Path) -> None:
    points = [0, 1, 3, 4, 7, 10, 13, 16, 20, 25, 30, 34, 36, 38]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(raw), str(tmp_path), ",".join(map(str, points))],
        env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    killed = [line.split() for line in done.stdout.splitlines()]
    assert sum(status == "9" for _, status, _ in killed) >= 10, killed  # the last points may lie beyond the end
    whole = tree(tmp_path / "whole")
    for k in points:
        assert tree(tmp_path / f"killed-{k}") == whole, f"killed at {k}"


def test_the_command_killed_from_outside(raw: Path, tmp_path: Path) -> None:
    words = ["prepare", f"raw={raw}", "yaws=[0.0]", "workers=1", "front_end=mfcc"]
    command = [sys.executable, "-m", "d2m", *words, f"out={tmp_path / 'o'}"]
    process = subprocess.Popen(command, env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list((tmp_path / "o").glob("parts/*/*.npz"))) >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait(60) in (-signal.SIGKILL, 0)
    for folder in ("o", "alone"):
        d2m(*words, f"out={tmp_path / folder}")
    assert tree(tmp_path / "o") == tree(tmp_path / "alone")
