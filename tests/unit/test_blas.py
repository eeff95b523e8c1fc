"""numpy's BLAS on one thread: where, for how long, and with which results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from d2m.core.blas import one_blas_thread
from d2m.music.beats import onset_strength
from d2m.music.front_ends import features

POOLS = ThreadpoolController().select(user_api="blas")

if not POOLS.lib_controllers:
    pytest.skip("numpy's BLAS here is none whose threads can be set", allow_module_level=True)


def _threads() -> set[int]:
    return {p["num_threads"] for p in POOLS.info()}


def test_the_threads_are_back_when_the_last_block_ends() -> None:
    with POOLS.limit(limits=2), ExitStack() as first, ExitStack() as second:
        first.enter_context(one_blas_thread())
        second.enter_context(one_blas_thread())
        first.close()
        assert _threads() == {1}
        second.close()
        assert _threads() == {2}


def test_the_threads_are_back_after_an_error() -> None:
    with POOLS.limit(limits=2):
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            raise ZeroDivisionError
        assert _threads() == {2}


def test_threads_that_begin_together_share_the_limit() -> None:
    """In a new process, in which nobody has used it yet: the songs of ``d2m infer`` are read on several threads."""
    code = (
        "import threading, time, numpy\n"
        "from d2m.core import blas\n"
        "pools, search = blas.ThreadpoolController().select(user_api='blas'), blas.ThreadpoolController\n"
        "blas.ThreadpoolController = lambda: (time.sleep(0.2), search())[1]\n"
        "def threads(): return {p['num_threads'] for p in pools.info()}\n"
        "together, left, seen = threading.Barrier(2), threading.Event(), []\n"
        "def work(first):\n"
        "    together.wait()\n"
        "    with blas.one_blas_thread():\n"
        "        together.wait()\n"
        "        if not first: left.wait(); seen.append(threads())\n"
        "    left.set()\n"
        "with pools.limit(limits=2):\n"
        "    both = [threading.Thread(target=work, args=(k,)) for k in (True, False)]\n"
        "    for t in both: t.start()\n"
        "    for t in both: t.join()\n"
        "    print(*seen, threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{1} {2}"


@pytest.mark.parametrize("work", [onset_strength, lambda w: features(w, "rhythm")], ids=["onset_strength", "rhythm"])
def test_music_has_the_same_bits_for_any_number_of_threads(work: Callable[[np.ndarray], np.ndarray]) -> None:
    wave = np.random.default_rng(0).standard_normal(20 * 22_050).astype(np.float32) * 0.1
    analysed = []
    for threads in (1, 2):
        with POOLS.limit(limits=threads):
            analysed.append(work(wave))
    np.testing.assert_array_equal(*analysed)
