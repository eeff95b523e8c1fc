"""The studio's long jobs and sessions: an optimiser that reports progress and can be cancelled, bounded memory."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from d2m.dance.dancer import HeardSong
from d2m.studio.original import Original, Shown
from d2m.studio.session import Session
from d2m.studio.state import State
from d2m.studio.worker import Superseded
from tests.studio import Client, judged, library, shift, state

pytest.importorskip("starlette", reason="needs starlette (pip install -e .[dev])")


@pytest.fixture(scope="module")
def at(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("jobs")
    return library(judged(tiny_bundle, folder / "judged" / "bundle"), folder)


OPTIMISE = {"name": "optimise", "source": "drive", "target": "flow", "steps": 2, "strength": 1.0}


def test_the_optimiser_reports_and_moves_at_once_when_it_has_run(at: Any) -> None:
    session, told = Session(at.bundles[0]), list[tuple[str, float | None]]()
    short = {"song": at.songs()[1]}
    shown = session.show(
        State.parse(state(at, OPTIMISE, **short)), lambda doing="", share=None: told.append((doing, share))
    )
    shares = [s for doing, s in told if doing == "optimising" and s is not None]
    assert len(shares) > 10 and shares == sorted(shares) and 0 <= shares[0] < 0.2 and 0.8 < shares[-1] <= 1
    told.clear()
    half = session.show(
        State.parse(state(at, {**OPTIMISE, "strength": 0.5}, **short)),
        lambda doing="", share=None: told.append((doing, share)),
    )
    assert "optimising" not in {doing for doing, _ in told}
    assert abs(half.poses["target"] - shown.poses["target"]).max() > 0


def test_a_cancelled_optimiser_ends_and_leaves_the_session_as_it_was(at: Any) -> None:
    session = Session(at.bundles[0])
    plain = session.show(State.parse(state(at)))
    left = 3

    def tick(doing: str = "", share: float | None = None) -> None:
        nonlocal left
        left -= doing == "optimising"
        if left < 0:
            raise Superseded

    with pytest.raises(Superseded):
        session.show(State.parse(state(at, OPTIMISE)), tick)
    again = session.show(State.parse(state(at)))
    assert (again.poses["original"] == plain.poses["original"]).all()
    done = session.show(State.parse(state(at, OPTIMISE)))  # from the beginning
    assert list(done.poses) == ["original", "neutral", "target"]


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc")
def test_a_long_session_keeps_its_memory(at: Any) -> None:
    client, songs = Client(at), at.songs()

    def use(n: int) -> None:
        for k in range(n):
            asked = state(at, shift(0.1 * (k % 19)), seed=k // 3, draws=[k % 3] if k % 5 == 0 else None)
            asked["song"] = songs[(k // 10) % len(songs)]
            client.ask("dance", asked, playhead=k % 9, exact=k % 3 == 0, tab="ab"[k % 2])

    use(20)
    gc.collect()
    before = resident_mib()
    use(60)
    gc.collect()
    kept = Counter(type(o).__name__ for o in gc.get_objects() if type(o) in (Shown, Original, HeardSong))
    assert kept["HeardSong"] <= len(songs) and kept["Original"] <= 6 + 2 and kept["Shown"] <= 2 + 1
    assert resident_mib() - before < 30, "a leak: a dance of these is 0.2 MiB, a song 1.5 MiB"
