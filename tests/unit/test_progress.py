"""The one progress bar."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from d2m.core.progress import bar


def test_counts_names_and_rates(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown: list[Progress] = []
    start = Progress.start
    monkeypatch.setattr(Progress, "start", lambda self: (shown.append(self), start(self))[1])
    with bar(5, "songs [a]", unit="songs", done=1) as update:
        update()
        update(2, description="b [x]")
        assert shown[0].tasks[0].completed == 4 and shown[0].tasks[0].description == "b [x]"
        update(done=5)
    assert shown[0].tasks[0].finished
    out = capsys.readouterr()
    assert "5/5" in out.err and "b [x]" in out.err and not out.out


def test_says_nothing_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(2, "songs") as update:
        update()
    assert capsys.readouterr() == ("", "")
