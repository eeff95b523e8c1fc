"""The page of a blind study in a real browser, from its first screen to scored answers; and what a phone shows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d2m.blind.answers import Rules
from d2m.blind.design import Plan
from d2m.blind.key import Key
from d2m.blind.report import score_study
from tests.blind_study import attentive, write_dances, write_study

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install -e .[dev])")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: chromium and chromedriver are not installed"
)

PLAN = Plan(participants=2, trials=2, repeats=1, checks=1, genre_trials=1)
TRIALS = 5
BEST = attentive(lambda row: {"alphamodel": 2.0, "betamodel": 1.0, "gammamodel": 0.0}[row["system"]])
Browser = Any


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page") / "dances"
    write_dances(root)
    return root


@pytest.fixture(scope="module")
def key(root: Path) -> Key:
    return write_study(root, plan=PLAN, seconds=0.6, question="natural", title="A <b>study</b>")


@pytest.fixture(scope="module")
def browser(root: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1100,800", "mute-audio"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(root.parent / "answers")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def wait(until: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def opened(browser: Browser, root: Path, query: str = "", name: str = "study") -> None:
    browser.get((root.parent / name / "index.html").as_uri() + query)


def element(browser: Browser, name: str) -> Any:
    return browser.find_element("id", name)


def begin(browser: Browser) -> None:
    assert not element(browser, "start").is_enabled()
    element(browser, "agree").click()
    element(browser, "start").click()


def press(browser: Browser, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def number(browser: Browser) -> str:
    return str(element(browser, "place").text)


def choices(browser: Browser) -> list[Any]:
    return list(browser.find_elements("css selector", "#choices button"))


def answer(browser: Browser, key: Key, slot: int, k: int, keyboard: bool) -> str:
    """Watch and answer trial k, as people who know the key would; returns the answer."""
    from selenium.webdriver.common.keys import Keys

    kind, shown = key.slots[slot][k]
    value = BEST(kind, [key.videos[v] for v in shown])
    assert number(browser) == f"Question {k + 1} of {TRIALS}"
    assert not any(b.is_enabled() for b in choices(browser)) and not element(browser, "next").is_enabled()
    if keyboard:
        press(browser, " ")
    else:
        element(browser, "play").click()
    wait(lambda: choices(browser)[0].is_enabled())
    # A guess is silent, since the music would give its answer.
    assert browser.execute_script("return document.getElementById('left').muted") == (len(shown) == 1)
    at = [b.get_attribute("data-value") for b in choices(browser)].index(value)
    if keyboard:
        press(browser, (Keys.ARROW_LEFT, Keys.ARROW_RIGHT)[at] if len(shown) == 2 else str(at + 1))
        assert choices(browser)[at].get_attribute("aria-pressed") == "true"
        press(browser, Keys.ENTER)
    else:
        choices(browser)[at].click()
        element(browser, "next").click()
    return value


def test_from_the_first_screen_to_a_score_by_keyboard_with_a_reload(browser: Browser, root: Path, key: Key) -> None:
    opened(browser, root, "?p=1")
    assert browser.title == element(browser, "title").text == "A <b>study</b>"  # text, not markup
    begin(browser)
    given = [answer(browser, key, 0, k, keyboard=True) for k in range(2)]
    browser.refresh()
    assert element(browser, "start").text == "Continue"
    element(browser, "start").click()
    given += [answer(browser, key, 0, k, keyboard=True) for k in range(2, TRIALS)]
    assert element(browser, "done").is_displayed()
    browser.refresh()
    element(browser, "download").click()
    folder = root.parent / "answers"
    file = wait(lambda: next(iter(folder.glob("*.json")), None))
    told = json.loads(file.read_text())
    assert [a["answer"] for a in told["answers"]] == given and told["participant"] == 1
    assert all(0.5 < a["seconds"] < 20 and a["plays"] == 1 for a in told["answers"])
    report = score_study(f"{folder}/*.json", root.parent / "study-key.json", root.parent / "out", Rules(), 20, 0)
    assert len(report["participants"]["kept"]) == 1 and not report["participants"]["excluded"]
    assert report["choice"]["n"] == 2 and report["genre"]["share"] == 1
    assert report["choice"]["strengths"]["alphamodel"]["strength"] > 0
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(u.startswith(("file:", "data:", "blob:")) for u in loaded)
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_both_dances_run_together_with_one_sound(browser: Browser, root: Path, key: Key) -> None:
    slot = next(k for k in range(2) if len(key.slots[k][0][1]) == 2)  # one who begins with comparisons
    opened(browser, root, f"?p={slot + 3}")
    begin(browser)
    script = (
        "return ['left', 'right'].map(i => {const v = document.getElementById(i); return [v.currentTime, v.muted]})"
    )
    element(browser, "play").click()
    seen = []
    while len(seen) < 5:
        (left, sounds), (right, silent) = browser.execute_script(script)
        if 0.05 < left < 0.55:
            seen.append(abs(left - right))
        elif left >= 0.55:
            element(browser, "play").click()
            time.sleep(0.1)
    assert not sounds and silent
    assert sorted(seen)[2] < 0.15


def test_a_phone_shows_all_of_it_and_fingers_suffice(browser: Browser, root: Path, key: Key) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        slot = next(k for k in range(2) if len(key.slots[k][0][1]) == 2)
        opened(browser, root, f"?p={slot + 5}")
        begin(browser)
        box = "return document.documentElement.scrollWidth"
        assert browser.execute_script(box) <= 360
        for name in ("left", "right", "play", "next"):
            r = element(browser, name).rect
            assert r["x"] >= 0 and r["x"] + r["width"] <= 360 and r["y"] + r["height"] <= 740
        assert all(b.rect["height"] >= 44 and b.rect["width"] >= 44 for b in choices(browser))
        answer(browser, key, slot, 0, keyboard=False)
        assert number(browser) == f"Question 2 of {TRIALS}"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_video_that_does_not_play_can_be_skipped(browser: Browser, root: Path) -> None:
    broken = root.parent / "broken"
    shutil.copytree(root.parent / "study", broken)
    for file in (broken / "media").iterdir():
        file.write_bytes(b"no video")
    opened(browser, root, name="broken")  # without a number: drawn
    begin(browser)
    for k in range(TRIALS):
        assert number(browser) == f"Question {k + 1} of {TRIALS}"
        wait(lambda: element(browser, "skip").is_displayed())
        element(browser, "skip").click()
    assert element(browser, "done").is_displayed() and element(browser, "another").is_displayed()
    element(browser, "copy").click()
    told = json.loads(element(browser, "text").get_attribute("value"))
    assert not told["numbered"] and told["participant"] in (1, 2)
    assert [a["answer"] for a in told["answers"]] == [None] * TRIALS


def test_text_is_readable_in_light_and_dark(browser: Browser, root: Path) -> None:
    """WCAG AA: 4.5 to 1 for text, on what it stands on."""

    def luminance(colour: str) -> float:
        r, g, b = (int(x) / 255 for x in colour[colour.index("(") + 1 : -1].split(",")[:3])
        r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (r, g, b))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    colours = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        opened(browser, root, "?p=7")
        element(browser, "agree").click()
        style = "const s = getComputedStyle(document.querySelector(arguments[0])); return [s.color, s.backgroundColor]"
        body = browser.execute_script(style, "body")
        colours.add(body[1])
        warning, soft = (browser.execute_script(style, s)[0] for s in (".warning", ".soft"))
        pairs = [body, browser.execute_script(style, "#start"), [warning, body[1]], [soft, body[1]]]
        for text, back in pairs:
            low, high = sorted((luminance(text), luminance(back)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, text, back)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(colours) == 2
