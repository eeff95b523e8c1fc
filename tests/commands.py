"""The command ``d2m`` within the test's own process."""

from __future__ import annotations

import pytest

from d2m.cli.main import dispatch


def d2m(*words: str) -> None:
    """Run a command; its errors of use are raised instead of printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("D2M_TRACEBACK", "1")
        patch.setenv("HYDRA_FULL_ERROR", "1")
        dispatch(words)
