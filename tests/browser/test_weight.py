"""Pages are light: what each one loads, and how soon its text can be read on a slow machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.book.book_files import contents

LIMIT = 2_000_000  # bytes, before the reader touches anything

# Bytes of the page and of all that it loaded, without the one file of mathematics: every page has
# it, so it is fetched once and then comes from the browser's cache.
_LOADED = """
const entries = [...performance.getEntriesByType("navigation"),
                 ...performance.getEntriesByType("resource")];
return entries.filter(e => !e.name.includes("/mathjax/"))
              .reduce((sum, e) => sum + e.encodedBodySize, 0);
"""
_TEXT = "return performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    """The book as a server gives it, on this machine alone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=html)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", contents())
def test_a_page_loads_less_than_two_megabytes(page: Any, address: str, name: str) -> None:
    """All of it: text, style, scripts, figures in sight or not."""
    page.open(f"{address}/{name}.html", formulas=False)
    assert page.js(_LOADED) < LIMIT


@pytest.mark.parametrize("name", ["index", "chapters/optimizers", "reference/errata"])
def test_text_can_be_read_soon_on_a_slow_machine(page: Any, address: str, name: str) -> None:
    """Within 1.5 s on a processor slowed down four times; the best of three, as others work too."""
    page.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 4})
    try:
        times = []
        for _ in range(3):
            page.open(f"{address}/{name}.html")
            times.append(page.js(_TEXT))
    finally:
        page.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert min(times) < 1.5
