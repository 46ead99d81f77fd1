"""The pictures of the interactive figures show what the figures show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.figures import PAGES
from tools.chromium import chromium
from tools.pictures import snapshots


def test_the_pictures_are_those_of_todays_figures(page: Any, html: Path) -> None:
    """Each says what its figure says now in that state; if not, run ``make snapshots``.

    The letters of another machine have other shapes, so the sentences are compared, not the dots.
    """
    with chromium() as tab:
        for name in sorted(PAGES):
            with Image.open(snapshots.TARGET / f"{name}.png") as picture:
                assert picture.text["Description"] == snapshots.sentence(tab, html, name), name


def test_without_scripts_a_page_shows_the_picture(page: Any, html: Path) -> None:
    """In the place of the figure, with the words for those who do not see it."""
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.driver.get((html / f"{PAGES['neuron']}.html").as_uri())
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    stage = page.driver.find_element("css selector", '[data-figure="neuron"]')
    picture = stage.find_element("css selector", "img.snapshot")
    assert int(picture.get_property("naturalWidth")) == 1440
    assert 300 < picture.rect["width"] <= stage.rect["width"]
    assert len(picture.get_attribute("alt")) > 50
