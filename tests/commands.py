"""The command ``d2m`` within the test's own process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest

from d2m.cli.main import dispatch, main


def d2m(*words: str) -> None:
    """Run a command; its errors of use are raised instead of printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("D2M_TRACEBACK", "1")
        patch.setenv("HYDRA_FULL_ERROR", "1")
        dispatch(words)


def called(command: str, *words: str) -> CompletedProcess[str]:
    """What ``d2m COMMAND``, ``train.py`` and ``infer.py`` do: exit code, standard output and error."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["d2m", *words])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.delenv("D2M_TRACEBACK", raising=False)
        try:
            main(command)
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
    return CompletedProcess([command, *words], code, out.getvalue(), err.getvalue())
