"""The built book and a browser to look at it; both are made before these tests run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.book.book_files import built_book, without
from tests.browser.browser import browser, missing


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    return built_book()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One browser for all tests of a process."""
    if missing():
        without(f"not installed: {missing()} (Debian: apt install chromium chromium-driver)")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
