"""librosa and our own loops are compiled by one process at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from d2m.core import compiling
from d2m.core.errors import D2MError
from d2m.music import compiled
from d2m.nets.row_loop import row_loop

# A module of librosa with nothing to compile: the lock is the matter here.
CODE = """
from d2m.music import compiled
compiled._SHARED = ()
print("ready", flush=True)
print(compiled.librosa("version").__name__)
"""


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    return tmp_path / "numba"


def test_a_second_process_waits_for_the_first(cache_folder: Path) -> None:
    cache_folder.mkdir()
    with FileLock(cache_folder / compiling.LOCK_NAME):
        second = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None and second.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=4)
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and out == "librosa.version\n"


#: As in a read-only environment, for a user without a home.
NOWHERE = """
import os
from pathlib import Path
from d2m.core import compiling
from d2m.music import compiled
compiling.cache_folders = lambda _: [Path("/proc/nowhere")]
"""


def _run(code: str, **environment: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env)


def test_where_nothing_can_be_written_it_compiles_to_a_temporary_folder(tmp_path: Path) -> None:
    # Of librosa a module with nothing to compile; Numba takes its folder from it for whatever comes after.
    (tmp_path / "small.py").write_text("import numba\n@numba.njit(cache=True)\ndef one_more(n): return n + 1\n")
    code = "compiled._SHARED = (); compiled.librosa('version'); import small; print(small.one_more(1))"
    done = _run(NOWHERE + code, TMPDIR=str(tmp_path), PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 0 and done.stdout == "2\n", done.stderr
    (made,) = tmp_path.rglob("*.nbi")
    assert made.relative_to(tmp_path).parts[0].startswith("d2m-numba-")


def test_a_temporary_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    (planted := tmp_path / f"d2m-numba-{os.getuid()}").mkdir()
    planted.chmod(0o777)
    done = _run(NOWHERE + "print(compiling.writable(Path()))", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) != planted and Path(done.stdout.strip()).parent == tmp_path


def test_no_folder_at_all_is_one_line() -> None:
    code = NOWHERE + (
        "import tempfile; tempfile.tempdir = '/proc/nowhere'\n"
        "from d2m.core.errors import D2MError\n"
        "try: compiling.writable(Path())\n"
        "except D2MError as e: print(e)"
    )
    done = _run(code)
    assert "set NUMBA_CACHE_DIR" in done.stdout and done.stdout.count("\n") == 1, done.stderr


def test_the_lock_stands_beside_numbas_own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    beside, home = compiling.cache_folders(compiled._sources())
    assert beside.parent.name == "librosa" and beside.name == "__pycache__"
    assert home == Path(os.path.expanduser("~")) / ".cache" / "numba"
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
    assert compiling.cache_folders(Path())[-1] == Path("/scratch/cache/numba")


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_one_line(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba  # reads the environment: before it is changed

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    row_loop.__wrapped__()
    (damaged,) = tmp_path.rglob(f"*.{suffix}")
    for kept in (b"", damaged.read_bytes()[:40]):
        damaged.write_bytes(kept)
        with pytest.raises(D2MError, match=r"cache is damaged .*; delete the \.nbi and \.nbc files") as caught:
            row_loop.__wrapped__()
        assert str(tmp_path) in str(caught.value)


def test_a_full_disk_is_one_line(cache_folder: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(D2MError, match="No space left on device; set NUMBA_CACHE_DIR"), compiling.compiling(Path()):
        raise full


def test_what_is_loaded_covers_every_compiled_function_used() -> None:
    """All of librosa that Numba compiles at import and that beats, features or edits touch was loaded in the lock."""
    code = (
        "import sys, numpy as np; from unittest import mock; from d2m.music import compiled\n"
        "late = []\n"
        "import numba; real = numba.guvectorize\n"
        "def spy(*a, **k):\n"
        "    if not held: late.append(sys._getframe(1).f_globals['__name__'])\n"
        "    return real(*a, **k)\n"
        "held = []; numba.guvectorize = spy\n"
        "inner = compiled.importlib.import_module\n"
        "def load(name):\n"
        "    held.append(1)\n"
        "    try: return inner(name)\n"
        "    finally: held.pop()\n"
        "compiled.importlib = mock.Mock(import_module=load, util=compiled.importlib.util)\n"
        "from d2m.music import beats, front_ends\n"
        "from d2m.music import transforms as m\n"
        "w = np.random.default_rng(0).standard_normal(3 * 22050).astype('f') * 0.1\n"
        "m.change_tempo(w, 1.1); m.separate(w); m.change_pitch(w, 1)\n"
        "front_ends.features(w); beats.music_beats(w); beats.onsets(w)\n"
        "print(late)\n"
        "import librosa.beat as b\n"
        "print([n for n, f in vars(b).items() if hasattr(f, 'gufunc_builder') and not f.gufunc_builder.cache])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"], "nothing is compiled late, and everything is kept"
