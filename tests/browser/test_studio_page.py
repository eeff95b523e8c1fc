"""The studio in a real browser: load, play, edit, save, compare, drop, reload; light, dark and on a phone."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m.studio.session import Session
from d2m.studio.state import State
from tests.commands import called
from tests.studio import TOKEN, library, write_song

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install -e .[dev])")
uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn (pip install -e .[dev])")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: chromium and chromedriver are not installed"
)
IDLE = "document.getElementById('doing').textContent === '' && document.querySelectorAll('figure').length > 0"


class Server:
    """A studio on a port of this computer, which can be stopped."""

    def __init__(self, at: Any, port: int = 0) -> None:
        from d2m.studio.app import make_app

        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        app = make_app(at, TOKEN, frozenset({f"127.0.0.1:{self.port}"}))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()


class Page:
    """The studio's page in a browser."""

    def __init__(self, driver: Any, server: Server) -> None:
        self.driver, self.server = driver, server

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not self.js(f"return Boolean({condition})"):
            told = self.js("return document.getElementById('message').textContent") if time.monotonic() > end else ""
            assert time.monotonic() < end, f"{condition} did not come true ({told})"
            time.sleep(0.05)

    def open(self, fragment: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get(self.server.url + fragment)
        self.until(IDLE)

    def picture(self, name: str) -> str:
        """The pixels of a panel once they are drawn."""
        return str(self.driver.execute_async_script(
            "const done = arguments[1]; requestAnimationFrame(() => requestAnimationFrame(() => "
            "done(document.getElementById(`panel-${arguments[0]}`).toDataURL())))", name
        ))  # fmt: skip

    def slide(self, k: int, value: float, let_go: bool = True) -> None:
        self.js(
            "const s = document.querySelectorAll('#edit input[type=range]')[arguments[0]]; s.value = arguments[1];"
            "s.dispatchEvent(new Event('input')); if (arguments[2]) s.dispatchEvent(new Event('change'))",
            k, value, let_go,
        )  # fmt: skip

    def press(self, *keys: str) -> None:
        self.js("document.activeElement.blur()")
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    @property
    def state(self) -> State:
        coded = self.js("return location.hash.slice(1).split('&')[0]")
        import base64
        import json

        return State.parse(json.loads(base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))))


@pytest.fixture(scope="module")
def at(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("studio")
    song = write_song(folder / "warm.wav", 3.0)
    Session(str(tiny_bundle)).hear(str(song))  # librosa compiles once, before anybody waits for it
    more = [shutil.copytree(tiny_bundle, folder / name / "bundle") for name in ("second", "third")]
    return library(tiny_bundle, folder, *more)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "mute-audio"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1280,810")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def page(at: Any, driver: Any) -> Iterator[Page]:
    at.state_path.unlink(missing_ok=True)
    server = Server(at)
    page = Page(driver, server)
    page.open()
    yield page
    server.stop()
    wrong = [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE" and " 400 " not in e["message"]]
    assert not [w for w in wrong if "ERR_CONNECTION" not in w]


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
    assert page.js(FAULTS) == []


#: Every control has a name, ids are unique, text has a contrast of 4.5 to what is behind it (WCAG 2 AA).
FAULTS = """
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const rgb = (s) => (s.match(/[\\d.]+/g) || []).map(Number);
const behind = (e) => { for (let n = e; n; n = n.parentElement) { const c = rgb(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] > 0.99) return c.slice(0, 3); } return [255, 255, 255]; };
const faults = [];
const seen = (e) => e.getClientRects().length > 0;
for (const e of document.querySelectorAll('button, select, input, canvas, [role=slider], [role=tab], progress, output')) {
  const name = e.getAttribute('aria-label') || e.textContent.trim() || [...(e.labels || [])].map((l) => l.textContent.trim()).join('');
  if (seen(e) && !name && e.tagName !== 'PROGRESS') faults.push(`no name: ${e.outerHTML.slice(0, 80)}`);
}
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
faults.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `twice: ${id}`));
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !seen(e) || e.disabled || e.tagName === 'OPTION' || e.closest(':disabled')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faults.push(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(2)}: ${e.outerHTML.slice(0, 80)}`);
}
return faults;
"""  # noqa: E501


def test_it_is_usable_on_a_phone_and_by_everybody_in_light_and_dark(page: Page) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    for size in ((1280, 810), (390, 844)):
        if size[0] < 500:
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": True}
            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for _ in ("one theme", "the other"):
            page.js("theme.click()")
            for tab in range(5):
                page.js("document.querySelectorAll('[role=tab]')[arguments[0]].click()", tab)
                assert page.js(FAULTS) == []
        assert page.js("return document.documentElement.scrollWidth <= innerWidth + 1")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.js("document.getElementById('play').focus()")
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
