"""Runs Chromium without a window: it sets formulas, prints pages and takes pictures of figures."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# Formulas by the thousand take minutes.
LONGEST_S = 1800
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # in a container there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--allow-file-access-from-files",
)
# Formulas are set, pictures and fonts are there: nothing will move any more.
_SETTLED = """
const done = arguments[0];
const math = () => window.MathJax?.startup?.promise;
const pictures = () =>
  Promise.all([...document.images].map(image => image.decode().catch(() => 0)));
const wait = () => document.readyState === "complete"
  ? Promise.all([math(), pictures(), document.fonts.ready]).then(() => setTimeout(done, 100))
  : setTimeout(wait, 50);
wait();
"""


class Tab:
    """One page of the browser, opened from the disk."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        driver.command_executor.client_config.timeout = LONGEST_S
        driver.set_page_load_timeout(LONGEST_S)
        driver.set_script_timeout(LONGEST_S)

    def open(self, page: Path) -> None:
        """Open a page and wait until all of it is set."""
        self._driver.get(page.resolve().as_uri())
        self._driver.execute_async_script(_SETTLED)

    def size(self, width: int, height: int, scale: float) -> None:
        """Make the window so large, each of its pixels `scale` pixels of a picture wide."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def js(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return its value."""
        return self._driver.execute_script(code, *arguments)

    def picture(self, selector: str) -> bytes:
        """Return a part of the page as a PNG."""
        x, y, width, height = self.js(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.x + scrollX, box.y + scrollY, box.width, box.height]",
            selector,
        )
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        options = {"clip": clip, "captureBeyondViewport": True}
        done = self._driver.execute_cdp_cmd("Page.captureScreenshot", options)
        return base64.b64decode(done["data"])

    def pdf(self) -> bytes:
        """Return the page as printed, on paper of the size that its style asks for."""
        options = {
            "preferCSSPageSize": True,
            "printBackground": True,
            "generateDocumentOutline": True,
            "generateTaggedPDF": True,  # without it there is no outline either
            "transferMode": "ReturnAsStream",
        }
        stream = self._driver.execute_cdp_cmd("Page.printToPDF", options)["stream"]
        parts, end = [], False
        while not end:
            read = self._driver.execute_cdp_cmd("IO.read", {"handle": stream, "size": 1 << 20})
            coded = read.get("base64Encoded", False)
            parts.append(base64.b64decode(read["data"]) if coded else read["data"].encode())
            end = read["eof"]
        self._driver.execute_cdp_cmd("IO.close", {"handle": stream})
        return b"".join(parts)


@contextmanager
def chromium() -> Iterator[Tab]:
    """Start Chromium with an empty profile, and end it afterwards whatever happens.

    Raises
    ------
    FileNotFoundError
        If it is not installed, or its driver is not.
    """
    found = [
        shutil.which("chromium") or shutil.which("google-chrome"),
        shutil.which("chromedriver"),
    ]
    if None in found:
        raise FileNotFoundError(
            "Chromium or its driver is not installed. "
            "On Debian: apt install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = str(found[0])
    with tempfile.TemporaryDirectory() as profile:
        for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        driver = webdriver.Chrome(options=options, service=Service(found[1]))
        try:
            yield Tab(driver)
        finally:
            driver.quit()
