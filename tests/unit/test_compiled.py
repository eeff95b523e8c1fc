"""librosa is compiled by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from d2m.music import compiled

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
    with FileLock(cache_folder / compiled.LOCK_NAME):
        second = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None and second.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=4)
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0 and out == "librosa.version\n"


def test_where_nothing_can_be_written_it_goes_on(cache_folder: Path) -> None:
    cache_folder.write_text("a file where Numba's folder should be")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_lock_stands_beside_numbas_own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    beside, home = compiled._cache_folders()
    assert beside.parent.name == "librosa" and beside.name == "__pycache__"
    assert home == Path(os.path.expanduser("~")) / ".cache" / "numba"


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
        "from d2m.reports import music_edits as m\n"
        "w = np.random.default_rng(0).standard_normal(3 * 22050).astype('f') * 0.1\n"
        "m.change_tempo(w, 1.1); m.separate(w); m.change_pitch(w, 1)\n"
        "front_ends.features(w); beats.music_beats(w); beats.onsets(w)\n"
        "print(late)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
