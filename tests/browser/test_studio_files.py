"""What leaves and enters the studio's page: saved dances, links, states, schedules, directions, exported pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.browser.studio_page import IDLE, Page
from tests.commands import called
from tests.studio import state


def test_what_is_saved_is_what_infer_writes_and_the_link_shows_it(page: Page, at: Any, tmp_path: Path) -> None:
    page.slide(1, 0.75)
    page.until(IDLE)
    page.js("document.getElementById('save').click()")
    page.until("document.querySelectorAll('#files a').length === 3")
    names = page.js("return [...document.querySelectorAll('#files a')].map((a) => decodeURI(a.getAttribute('href')))")
    saved = {Path(n).name: at.out / n for n in names}
    assert "state.json" in page.js("return document.getElementById('command').textContent")
    done = called("infer", f"state={saved['state.json']}", f"out={tmp_path}", "video=false")
    assert done.returncode == 0, done.stderr
    with np.load(saved["a.npz"]) as a, np.load(tmp_path / "a.npz") as b:
        assert set(a.files) == set(b.files) and all(np.array_equal(a[k], b[k]) for k in a.files)
    link, shown = page.js("return location.hash"), page.picture("target")
    at.state_path.unlink()
    page.open(link)
    assert page.picture("target") == shown


def test_an_exported_page_plays_from_disk_what_the_studio_showed(page: Page, at: Any, tmp_path: Path) -> None:
    from d2m.studio.export import export_page

    page.slide(0, 1.0)
    page.until(IDLE)
    exported = export_page(at, tmp_path / "page <&> é")
    assert sorted(p.name for p in exported.parent.iterdir()) == ["index.html", "song.flac"]
    assert str(at.out.parent) not in exported.read_text()  # no paths of this machine
    page.driver.get(exported.as_uri())
    page.until("document.querySelectorAll('figure canvas').length === 3")
    still = page.picture("target")
    assert still != page.picture("original")
    page.press(" ")
    page.until("audio.currentTime > 0.4")
    page.press(" ")
    page.until("audio.paused")
    assert page.picture("target") != still
    assert page.js("return document.querySelectorAll('#numbers tbody tr').length") >= 14


def test_a_state_and_a_schedule_are_dropped(page: Page, at: Any) -> None:
    edit = {"name": "mean_shift", "source": "drive", "target": "groove", "strength": 0.5}
    page.drop("state.json", json.dumps(state(at, edit, seed=6)))
    page.until("seed.value === '6'")
    page.until(IDLE)
    assert page.state.edits[0].strength == 0.5
    page.drop("schedule.json", "[[0, 0], [8, 1.5]]")
    page.until(IDLE)
    assert page.state.edits[0].strength == ((0.0, 0.0), (8.0, 1.5))
    for text, word in (("{", "not JSON"), ("[[1]]", "schedule"), ('{"format": 9}', "format 1")):
        page.drop("bad.json", text)
        page.until(f"!message.hidden && message.textContent.includes('{word}')")
    assert page.state.edits[0].strength == ((0.0, 0.0), (8.0, 1.5)) and page.state.seed == 6


def test_an_edit_becomes_a_direction_with_a_slider_of_its_own(page: Page) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    before = page.js("return document.querySelectorAll('#edit .slider').length")
    page.tab("saving")
    page.js("document.querySelector('#parts button').click()")
    page.until("document.getElementById('command').textContent.includes('edit.file=')")
    assert page.js("return document.querySelectorAll('#edit .slider').length") == before + 1
    assert "directions" in page.js("return message.textContent")
