"""A real browser for the tests: Chromium without a window, through its own driver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.patience import patient

PROGRAMS = ("chromium", "chromedriver")
# Whatever Chromium would like to tell or ask its maker is switched off: a request that leaves the
# machine is then one that a page made.
_QUIET = (
    "--headless=new",
    "--no-sandbox",  # in a container there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--no-first-run",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
)


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Browser:
    """One tab, and what happened in it since the last page was opened."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self,
        url: str,
        *,
        scheme: str = "light",
        motion: str = "no-preference",
        width: int = 1300,
        formulas: bool = True,
    ) -> None:
        """Open a page, in light or dark, and wait until its formulas are set.

        That takes most of the time; without them, the console says that a file is missing.
        """
        left_out = [] if formulas else ["*/mathjax/*"]
        self.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": left_out})
        self._prefer(scheme, motion)
        self.resize(width)
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(url)
        self.driver.set_script_timeout(patient(60))
        self.driver.execute_async_script(_SETTLED)

    def media(self, *, scheme: str = "light", motion: str = "no-preference") -> None:
        """Say what the reader prefers, light or dark, moving or still, and wait until the page has
        heard of it: with its next frame, which is late on a busy machine."""
        self._prefer(scheme, motion)
        self.driver.set_script_timeout(patient(60))
        self.driver.execute_async_script(_HEARD, scheme, motion)

    def _prefer(self, scheme: str, motion: str) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width: int, height: int = 900) -> None:
        """Make the page so many pixels wide."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def js(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return its value."""
        return self.driver.execute_script(code, *arguments)

    def complaints(self) -> list[str]:
        """Return the errors and warnings of the console since the page was opened."""
        bad = ("SEVERE", "WARNING")
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in bad]

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for since it was opened."""
        entries = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]


# MathJax may be absent; where it is there, its first pass must be over.
_SETTLED = """
const done = arguments[0];
const math = () => window.MathJax && MathJax.startup && MathJax.startup.promise;
const wait = () => document.readyState === "complete"
  ? Promise.resolve(math()).then(() => setTimeout(done, 50)) : setTimeout(wait, 20);
wait();
"""

# Changes are told to the page's listeners before the callbacks of the same frame.
_HEARD = """
const [scheme, motion, done] = arguments;
const is = (name, value) => matchMedia(`(prefers-${name}: ${value})`).matches;
const look = () => is("color-scheme", scheme) && is("reduced-motion", motion)
  ? requestAnimationFrame(() => requestAnimationFrame(done)) : setTimeout(look, 20);
look();
"""


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile, and end it afterwards whatever happens."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*_QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
