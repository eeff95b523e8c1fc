"""One browser and one studio for all tests of a file; a server of its own for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio import judged, library, write_latents, write_report, write_runs, write_song


@pytest.fixture(scope="module")
def at(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from d2m.studio.session import Session

    folder = tmp_path_factory.mktemp("studio")
    song = write_song(folder / "warm.wav", 3.0)
    Session(str(tiny_bundle)).hear(str(song))  # librosa compiles once, before anybody waits for it
    more = [shutil.copytree(tiny_bundle, folder / name / "bundle") for name in ("second", "third")]
    runs = write_runs(folder / "runs")
    write_report(runs / "evaluation" / "report.json", tiny_bundle)
    latents = write_latents(folder / "latents.npz", tiny_bundle)
    bundles = (*more, judged(tiny_bundle, folder / "judged" / "bundle"))
    return library(tiny_bundle, folder, *bundles, latents=str(latents), runs=str(runs))


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from tests.browser.studio_page import CHROMIUM, DRIVER, webdriver

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
def page(at: Any, driver: Any) -> Iterator[Any]:
    from tests.browser.studio_page import DESK, Page, Server

    at.state_path.unlink(missing_ok=True)
    server = Server(at)
    page = Page(driver, server)
    page.size(DESK)
    page.open()
    yield page
    server.stop()
    wrong = [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE" and " 400 " not in e["message"]]
    assert not [w for w in wrong if "ERR_CONNECTION" not in w]
