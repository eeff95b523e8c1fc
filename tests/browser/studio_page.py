"""The studio's page in a browser, and a server for it that can be stopped."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
import time
from typing import Any

import pytest

from d2m.studio.state import State
from tests.studio import TOKEN

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install -e .[dev])")
uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn (pip install -e .[dev])")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("no browser: chromium and chromedriver are not installed", allow_module_level=True)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
DESK = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
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
        return State.parse(json.loads(base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))))

    def size(self, metrics: dict[str, Any]) -> None:
        """As :data:`PHONE` or :data:`DESK`."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def drop(self, name: str, text: str) -> None:
        """Drop a text file on the page."""
        self.js(
            "const data = new DataTransfer(); data.items.add(new File([arguments[1]], arguments[0]));"
            "dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}))",
            name, text,
        )  # fmt: skip

    def tab(self, panel: str) -> None:
        """Open one of edit, numbers, map, runs, saving."""
        self.js("document.getElementById(`tab-${arguments[0]}`).click()", panel)
