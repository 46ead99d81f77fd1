"""The built book and a browser to look at it; both are made before these tests run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book"))

from book_files import BOOK


def _without(what: str) -> None:
    """Skip on the machine of a person; where everything has to be there, fail."""
    if "CI" in os.environ:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    folder = Path(os.environ.get("BOOK_HTML", BOOK / "_build" / "html")).resolve()
    if not (folder / "index.html").is_file():
        _without(f"no built book in {folder}: run `make book` first")
    return folder


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One browser for all tests of a process."""
    selenium = pytest.importorskip("selenium", reason="selenium is not installed")
    assert selenium
    from browser import browser, missing

    if missing():
        _without(f"not installed: {missing()} (Debian: apt install chromium chromium-driver)")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
