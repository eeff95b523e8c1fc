"""The studio in a real browser: load, play, edit, compare, reload; several tabs, a server that dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.browser.studio_page import IDLE, Page, Server, webdriver


def test_it_plays_by_its_sound_and_every_key_does_what_it_says(page: Page) -> None:
    still = page.picture("original")
    page.press(" ")
    page.until("parseFloat(document.getElementById('timeline').getAttribute('aria-valuenow')) > 0.5")
    assert page.js("return !audio.paused && audio.currentTime > 0")
    page.press(" ")
    page.until("audio.paused")
    assert page.picture("original") != still
    page.press("\ue011")  # Home
    page.until("document.getElementById('time').textContent.startsWith('0:00.0')")
    assert page.picture("original") == still
    page.press(".")
    page.until("document.getElementById('time').textContent.startsWith('0:00.1')")
    page.press("o")
    page.press("t")
    assert page.js("return ['onion', 'trails'].every((i) => document.getElementById(i).ariaPressed === 'true')")
    page.press("o", "t", "l", "+")
    page.until("loop.ariaPressed === 'true' && speed.value === '1.5'")
    page.press("\ue011", "l", "-", "s")
    page.until("seed.value === '1'")
    page.until(IDLE)
    assert page.state.seed == 1


def test_a_slider_moves_the_picture_and_strength_0_is_the_original_to_the_pixel(page: Page) -> None:
    page.press("\ue014", "\ue014")  # two seconds on
    page.slide(0, 1.0, let_go=False)
    page.until("document.querySelectorAll('figure').length === 3")
    page.slide(0, 1.0)
    page.until(IDLE)
    moved = page.picture("target")
    assert moved != page.picture("original")
    page.slide(0, 0.0)
    page.until(IDLE)
    assert page.picture("target") == page.picture("original") != moved
    page.js("document.getElementById('undo').click()")
    page.until(IDLE)
    assert page.picture("target") == moved
    page.js("document.getElementById('undo').click()")
    page.until("document.querySelectorAll('figure').length === 1")
    page.js("document.getElementById('redo').click()")
    page.until(IDLE)
    assert page.picture("target") == moved
    page.js("document.getElementById('tab-numbers').click()")
    assert page.js("return document.querySelectorAll('#numbers tbody tr').length") >= 14


def test_a_curve_is_drawn_with_the_mouse(page: Page) -> None:
    page.slide(0, 0.5)
    page.until(IDLE)
    page.js("document.querySelector('#edit .slider button').click()")
    page.until(IDLE)
    line = page.driver.find_element("id", "timeline")
    wide, high = line.size["width"], line.size["height"]
    mouse = webdriver.ActionChains(page.driver, duration=50)
    mouse.move_to_element_with_offset(line, -wide // 4, high // 6).click_and_hold()
    mouse.move_to_element_with_offset(line, wide // 4, -high // 4).release().perform()
    page.until(IDLE)
    curve = page.state.edits[0].strength
    assert not isinstance(curve, float) and len(curve) >= 4
    assert max(s for _, s in curve) > 1 and min(s for _, s in curve) < 0
    # On the beats, above and below the curve, the playhead is dragged instead.
    mouse = webdriver.ActionChains(page.driver, duration=50)
    mouse.move_to_element_with_offset(line, 0, 3 - high // 2).click_and_hold()
    mouse.move_to_element_with_offset(line, wide // 4, 3 - high // 2).release().perform()
    page.until("time.textContent.startsWith('0:12.0')")
    assert page.state.edits[0].strength == curve


def test_bundles_side_by_side_share_song_and_noise(page: Page) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    for k in range(2):
        page.js("document.querySelectorAll('#others-list input')[arguments[0]].click()", k)
        page.until(f"document.querySelectorAll('figure').length === {4 + 2 * k}")
    page.until(IDLE)
    # The other bundles are copies of the first.
    assert page.picture("other-target") == page.picture("target") != page.picture("original")
    assert page.picture("other2-original") == page.picture("original")
    page.open(page.js("return location.hash"))  # the link holds the comparison
    page.until("document.querySelectorAll('figure').length === 6")


def test_a_broken_song_is_one_message_and_the_dance_stays(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "broken.mp3"
    bad.write_bytes(b"this is no sound" * 99)
    page.driver.find_element("id", "add").send_keys(str(bad))
    page.until("!message.hidden && message.textContent.includes('broken.mp3')")
    assert page.js(f"return {IDLE}") and "\n" not in page.js("return message.textContent")


def test_a_server_that_died_and_came_back_shows_the_same(page: Page, at: Any) -> None:
    page.slide(0, 1.25)
    page.js("document.getElementById('reseed').click()")
    page.until(IDLE)
    shown, port = page.picture("target"), page.server.port
    page.server.stop()
    page.slide(0, 0.1)
    page.until("!message.hidden && message.textContent.includes('still running')")
    page.js("document.getElementById('undo').click()")
    page.server = Server(at, port)
    page.open()  # without the link: what the server kept
    assert page.picture("target") == shown and page.state.seed == 1


def test_two_tabs_do_not_take_each_others_dances(page: Page) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    first = page.driver.current_window_handle
    shown = page.picture("target")
    page.driver.switch_to.new_window("tab")
    try:
        page.open()
        page.js("document.getElementById('reseed').click()")
        page.until(IDLE)
        assert page.picture("target") != shown
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    assert page.picture("target") == shown


#: Pointer events on the first song of the map, the only one of them that is here.
ON_THE_FIRST_SONG = """
const [names, done] = arguments;
const canvas = document.getElementById('map-canvas');
canvas.setPointerCapture = () => {};
fetch('api/map?how=pca&side=music').then((answer) => answer.json()).then(({points}) => {
  const {left, top, width, height} = canvas.getBoundingClientRect();
  const share = (axis) => {
    const all = points.map((p) => p[axis]);
    return (points[0][axis] - Math.min(...all)) / (Math.max(...all) - Math.min(...all));
  };
  const at = {clientX: left + 20 + share('x') * (width - 40), clientY: top + height - 20 - share('y') * (height - 40)};
  for (const name of names) canvas.dispatchEvent(new PointerEvent(name, {...at, pointerId: 1}));
  done();
});
"""


def test_the_map_plays_what_the_pointer_is_on_and_a_click_dances_to_it(page: Page) -> None:
    page.tab("map")
    page.until("document.getElementById('map-told').textContent.includes('12 songs')")
    page.js("window.heard = []; const play = Audio.prototype.play;"
            "Audio.prototype.play = function () { window.heard.push(this.src); return play.call(this); }")  # fmt: skip
    page.js("song.value = song.options[1].value; song.dispatchEvent(new Event('change'))")
    page.until(IDLE)
    page.driver.execute_async_script(ON_THE_FIRST_SONG, ["pointermove"])
    page.until("window.heard.some((u) => u.includes('excerpt') && u.includes('a.wav'))")
    page.driver.execute_async_script(ON_THE_FIRST_SONG, ["pointerdown", "pointerup"])
    page.until("song.selectedIndex === 0")
    page.until(IDLE)
    assert Path(page.state.song).name == "a.wav"
    page.js("document.getElementById('map-songs').value = 's3';"
            "document.getElementById('map-songs').dispatchEvent(new Event('change'))")  # fmt: skip
    page.until("!message.hidden && message.textContent.includes('s3: not among')")


def test_evaluations_and_curves_of_runs_stand_side_by_side(page: Page) -> None:
    page.tab("runs")
    page.until("document.querySelectorAll('#evaluated tbody tr').length === 1")
    assert "0.8 [0.75, 0.85]" in page.js("return document.getElementById('evaluated').textContent")
    assert page.js("return document.querySelector('#runs-differences tbody tr').textContent") == "rate0.10.2"
    assert page.js("return document.querySelector('#runs-curve').value") == "du_vae/val/recon"
    assert page.js("return document.querySelectorAll('#runs-differences td.differs').length") == 1
    filtered = "runs.querySelector('input[type=search]').value = arguments[0];" \
        "runs.querySelector('input[type=search]').dispatchEvent(new Event('input'));" \
        "return [...document.querySelectorAll('#runs-list tbody th')].map((t) => t.textContent.trim())"  # fmt: skip
    for word, runs in (("rate=0.2", ["two"]), ("rate<0.15", ["one"]), ("seed=0", ["one", "two"]), ("tw", ["two"])):
        assert page.js(filtered, word) == runs


def test_the_optimiser_tells_how_far_it_is_and_can_be_cancelled(page: Page) -> None:
    page.js("bundle.selectedIndex = bundle.options.length - 1; bundle.dispatchEvent(new Event('change'))")
    page.until(IDLE)
    page.until("document.getElementById('optimise')")
    page.js("document.getElementById('optimise').click()")
    page.until("doing.textContent === 'optimising' && share.value > 0 && !cancel.hidden")
    page.js("cancel.click()")
    page.until(IDLE)
    assert page.state.edits == () and page.js("return document.querySelectorAll('figure').length") == 1


def test_letting_go_while_a_picture_is_on_its_way_ends_with_the_exact_dance(page: Page) -> None:
    page.slide(0, 0.2)
    page.until(IDLE)
    for k in range(6):
        for m in range(5):
            page.slide(0, 0.3 + 0.05 * m + 0.01 * k, let_go=False)
        page.slide(0, 0.9 + 0.01 * k)
        page.until(IDLE)
        time.sleep(0.3)
        page.until(IDLE)
        assert page.js("return document.querySelectorAll('figure.provisional').length") == 0
