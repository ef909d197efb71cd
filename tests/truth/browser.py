"""A real Chromium that opens pages from disk: what it drew, what it asked the network for, what it complained about."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.conftest import require

DEADLINE_S, WAIT_S = 30, 5
DESKTOP, PHONE = (1280, 900), (390, 844)
# Root needs --no-sandbox; containers often have a small /dev/shm.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, size: tuple[int, int] = DESKTOP, dark: bool = False, scripts: bool = True) -> None:
        """Open a page and wait until every plot was drawn, where scripts may run."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setDeviceMetricsOverride", metrics)
        self._command("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._command("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.complaints(), self.requests()
        self.driver.get(page.resolve().as_uri())
        deadline = time.monotonic() + DEADLINE_S
        while scripts and not self.run("return document.documentElement.dataset.drawn"):
            assert time.monotonic() < deadline, f"not drawn: {self.complaints()}"
            time.sleep(0.02)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def point_at(self, x: float, y: float) -> None:
        """Move the pointer away, and then to a place in the window."""
        for place in ((0, 0), (x, y)):
            self._command("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": place[0], "y": place[1]})

    def wait_for(self, script: str) -> Any:
        """Return what a script returns as soon as that is anything; at the deadline, what it returns then."""
        deadline = time.monotonic() + WAIT_S
        while not (found := self.run(script)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def complaints(self) -> list[str]:
        """Return what the console has shown since the last call: errors and warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the URLs that the page has asked for since the last call, without images inside the page itself."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """Write a picture of the window, or of this much of the page."""
        if height is not None:
            width = self.run("return window.innerWidth")
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self._command("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.save_screenshot(str(path))

    def _command(self, name: str, parameters: dict[str, object]) -> None:
        self.driver.execute_cdp_cmd(name, parameters)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium; end it."""
    require("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
