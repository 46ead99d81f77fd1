"""`make lab`, as a learner uses it: from a page of the book to a cell that runs, and back."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import (
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.book.book_files import without
from tests.book.notebook_faults import raw
from tests.browser.browser import browser, missing
from tests.browser.test_every_page import accessibility
from tests.interrupts import hear_interrupts
from tests.patience import patient

PAGE = "chapters/neurons"
TABLE = "reference/teaching"  # the table of all exercises
ANSWER = 'exercises.check("neurons.gate", (1, -1, -0.5))'  # z >= 0 at (1, 0) alone
SHORT = "chapters/conclusion"
SEEN = ("START_HERE", "chapters/collectives", "chapters/bug_museum", "solutions/losses")
FRESH = "chapters/losses"  # opened in a tab of its own
# The panel in front: its cells, and the active one.
_IN_FRONT = ".jp-NotebookPanel:not(.lm-mod-hidden)"
_ACTIVE = f"{_IN_FRONT} .jp-Cell.jp-mod-active"
_VISIBLE = """
const box = arguments[0].getBoundingClientRect();
return box.top >= 0 && box.bottom <= innerHeight;
"""


# What cells say beside code, when no formula is waiting for MathJax any more.
_TYPESET = """
const said = [...document.querySelectorAll(arguments[0])].map((cell) => {
  const text = cell.cloneNode(true);
  text.querySelectorAll("code, pre").forEach((code) => code.remove());
  return text.innerText;
});
return said.length > 1 && !said.some((text) => text.includes("$")) && said;
"""


@dataclass
class Lab:
    """The server, and a browser in which its book has been opened."""

    said: list[str]
    page: Any
    progress: Path
    log: Path
    started: float

    @property
    def root(self) -> str:
        """The address without a path."""
        return self.said[-2].split()[-1].partition("/book/")[0]

    def soon(self, code: str, *arguments: Any) -> Any:
        """Wait until JavaScript in the tab gives something true, and return it."""
        driver = self.page.driver
        return WebDriverWait(driver, patient(60), 0.2).until(
            lambda _: self.page.js(code, *arguments)
        )

    def turn_to(self, name: str) -> None:
        """Turn to the tab that bears this name."""

        def found(driver: Any) -> bool:
            for handle in driver.window_handles:
                driver.switch_to.window(handle)
                if self.page.js("return window.name") == name:
                    return True
            return False

        WebDriverWait(self.page.driver, patient(60), 0.2).until(found)

    def click(self, selector: str) -> None:
        """Click on something after it came into view. Cells are drawn when they are scrolled to,
        and drawn again when they have run: what is not there yet, or no longer, is looked for
        again."""
        again = (StaleElementReferenceException, ElementNotInteractableException)

        def clicked(driver: Any) -> bool:
            thing = driver.find_element("css selector", selector)
            self.page.js(
                "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", thing
            )
            thing.click()
            return True

        WebDriverWait(self.page.driver, patient(60), 0.2, ignored_exceptions=again).until(clicked)

    def press(self, *keys: str) -> None:
        """Press keys together."""
        chain = ActionChains(self.page.driver)
        for key in keys[:-1]:
            chain.key_down(key)
        chain.send_keys(keys[-1])
        for key in keys[:-1]:
            chain.key_up(key)
        chain.perform()

    def read(self, path: str, token: bool = True, **headers: str) -> Any:
        """Ask the server for a file, with the token or as a stranger."""
        query = self.said[-2].split()[-1].partition("?")[2] if token else ""
        request = urllib.request.Request(f"{self.root}{path}?{query}", headers=headers)
        return urllib.request.urlopen(request)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, html: Path, root: Path) -> Iterator[Lab]:
    """`python -m tools.lab` on a port beside one that is taken, stopped by Ctrl-C."""
    if missing():
        without(f"not installed: {missing()} (Debian: apt install chromium chromium-driver)")
    place = tmp_path_factory.mktemp("lab")
    progress = place / "progress"
    progress.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "tools.lab", "--no-browser", "--book", str(html)]
        command += ["--folder", str(place / "learning"), "--port", str(taken.getsockname()[1])]
        started = time.perf_counter()
        log = (place / "log").open("w+", encoding="utf-8")
        env = os.environ | {"COURSE_LIB_PROGRESS": str(progress)}
        with (
            log,
            subprocess.Popen(
                command,
                cwd=root,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
                preexec_fn=hear_interrupts,
            ) as process,  # fmt: skip
        ):
            try:
                said = _until_it_runs(process)
                assert len(said) >= 4, (place / "log").read_text("utf-8")
                with browser(place / "profile") as page:
                    opened = Lab(said, page, progress, place / "log", started)
                    page.open(opened.said[-2].split()[-1])
                    yield opened
                process.send_signal(signal.SIGINT)
                status = process.wait(patient(60))
            finally:
                process.kill()
    assert status == 0, "one Ctrl-C stops it, as if all were well"


def _until_it_runs(process: subprocess.Popen[str]) -> list[str]:
    """Return the lines that it prints, up to the one that says how to stop it."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line.strip())
        if line.startswith("Ctrl-C"):
            break
    return said


def test_it_says_what_it_did_and_where_it_is(lab: Lab) -> None:
    """On the first port that is free."""
    copied, port, notebooks, book, stop = lab.said
    assert re.fullmatch(r"Your notebooks are in .*learning: \d+ are new\.", copied)
    taken, chosen = re.findall(r"\d+", port)
    assert port == f"Port {taken} is taken; this is port {chosen}." and int(taken) < int(chosen)
    address = rf"http://127\.0\.0\.1:{chosen}"
    assert re.fullmatch(rf".* {address}/lab/tree/START_HERE\.ipynb\?token=\w{{32,}}", notebooks)
    assert re.fullmatch(rf".* {address}/book/index\.html\?token=\w{{32,}}", book)
    assert stop == "Ctrl-C stops both."


def test_the_book_is_for_who_has_the_token(lab: Lab) -> None:
    """And nothing beside the book is served with it."""
    for path in (f"/book/{PAGE}.html", "/book/lab.json", "/book/_static/lab.js"):
        assert "/login?next=" in lab.read(path, token=False).url
        assert lab.read(path).url.partition("?")[0] == f"{lab.root}{path}"
    for path in ("/book/../_config.yml", "/book/%2e%2e/mentions.json", "/book/gone.html"):
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            lab.read(path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"{PAGE}.html", "text/html; charset=UTF-8"),
        ("_static/course.js", "(text|application)/javascript.*"),
        ("_static/course.css", "text/css; charset=UTF-8"),
        ("_static/card.png", "image/png"),
        ("_static/favicon.svg", r"image/svg\+xml"),
        ("lab.json", "application/json.*"),
    ],
)
def test_a_file_has_its_type(lab: Lab, path: str, kind: str) -> None:
    """Text with the alphabet that it is written in."""
    assert re.fullmatch(kind, lab.read(f"/book/{path}").headers["Content-Type"])


def test_the_browser_need_not_fetch_a_file_twice(lab: Lab, html: Path) -> None:
    """It asks, and gets it again only after the book was built again."""
    first = lab.read(f"/book/{PAGE}.html")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.read() == (html / f"{PAGE}.html").read_bytes()
    date = first.headers["Last-Modified"]
    with pytest.raises(urllib.error.HTTPError, match="304"):
        lab.read(f"/book/{PAGE}.html", **{"If-Modified-Since": date})


def test_from_the_page_to_a_cell_that_runs_and_back(lab: Lab) -> None:
    """Two tabs, however often one goes to and fro. A notebook arrives with the numbers of its
    cells, as if it had been run; that the first one has run shows after the second time."""
    driver = lab.page.driver
    driver.get(f"{lab.root}/book/{PAGE}.html")
    lab.click(".run-here-place.top a.run-here")
    lab.turn_to("course-lab")
    lab.soon(f"return document.querySelector('{_IN_FRONT} .jp-CodeCell')")
    assert driver.current_url == f"{lab.root}/lab/tree/{PAGE}.ipynb"
    prompt = f"const p = document.querySelector('{_IN_FRONT} .jp-CodeCell .jp-InputPrompt');"
    for count in (1, 2):
        lab.click(f"{_IN_FRONT} .jp-CodeCell .jp-InputPrompt")
        lab.press(Keys.SHIFT, Keys.ENTER)
        lab.soon(f"{prompt} return p.innerText === '[{count}]:'")
    print(f"{time.perf_counter() - lab.started:.0f} s from the start of the server to the cell")

    assert "not trusted" not in lab.log.read_text("utf-8")  # it would not show what moves

    lab.click(f"{_IN_FRONT} a[href^='/book/{PAGE}.html']")
    lab.turn_to("course-book")
    assert driver.current_url.partition("#")[0] == f"{lab.root}/book/{PAGE}.html"
    lab.click(".run-here-place.top a.run-here")
    lab.turn_to("course-lab")
    assert len(driver.window_handles) == 2


@pytest.mark.parametrize(
    ("name", "exercise", "there"), [(PAGE, "neurons.gate", True), (FRESH, "losses.shapes", False)]
)
def test_an_exercise_is_opened_at_its_starter(
    lab: Lab, name: str, exercise: str, there: bool
) -> None:
    """The cursor stands in it, and what it needs was imported: in the tab that is there already,
    and in a fresh one, as from a bookmark."""
    driver = lab.page.driver
    lab.turn_to("course-book")
    driver.get(f"{lab.root}/book/{name}.html")
    link = f"a.run-here[data-exercise='ex-{exercise.replace('.', '-')}']"
    if there:
        lab.click(link)
        lab.turn_to("course-lab")
    else:
        address = lab.soon("return document.querySelector(arguments[0])?.href", link)
        driver.switch_to.new_window("tab")
        driver.get(address)
    lab.soon(
        f"return document.querySelector('{_ACTIVE} .cm-content')?.innerText.includes(arguments[0])",
        f'check("{exercise}"',
    )
    lab.soon("return document.activeElement.closest(arguments[0])", _ACTIVE)
    starter = driver.find_element("css selector", _ACTIVE)
    lab.soon(_VISIBLE, starter)  # what stands above it may still be drawn
    lab.press(Keys.CONTROL, "a")
    ActionChains(driver).send_keys(ANSWER).perform()
    lab.press(Keys.SHIFT, Keys.ENTER)
    output = (
        "return arguments[0].querySelector('.jp-Cell-outputArea')?.innerText.includes('passed')"
    )
    lab.soon(output, starter)
    if not there:
        driver.close()


def test_solved_exercises_have_a_tick(lab: Lab) -> None:
    """At their headings, in the table of all, and counted beside the button; without a reload."""
    driver = lab.page.driver
    lab.turn_to("course-book")
    for file in lab.progress.iterdir():
        file.unlink()
    counted = "const c = document.querySelector('.run-here-count'); return c?.textContent"
    driver.get(f"{lab.root}/book/{PAGE}.html")
    lab.soon(f"{counted}.startsWith('0 of ')")
    assert lab.page.js("return document.querySelectorAll('article .solved').length") == 0
    for name in ("neurons.gate", "neurons.circle", "gradient_checking.diagnose"):
        entry = json.dumps({"name": name, "date": "2026-11-30"})
        (lab.progress / f"{name}.json").write_text(entry, encoding="utf-8")
    lab.page.js("dispatchEvent(new Event('focus'))")
    lab.soon(f"{counted}.startsWith('2 of ')")
    ticked = "return [...document.querySelectorAll('article .solved')].map(t => t.parentElement)"
    headings = [heading.text for heading in lab.page.js(ticked)]
    assert len(headings) == 2 and "Rain, but no umbrella" in headings[0]
    driver.get(f"{lab.root}/book/{TABLE}.html")
    lab.soon("return document.querySelectorAll('article table .solved').length >= 3")
    links = ticked.replace("parentElement", "previousElementSibling.hash")
    anchors = {anchor.removeprefix("#") for anchor in lab.page.js(links)}
    assert anchors == {"ex-neurons-gate", "ex-neurons-circle", "ex-gradient-checking-diagnose"}


def test_a_page_of_the_lab_has_no_faults(lab: Lab) -> None:
    """As every page elsewhere: no complaint, no request to elsewhere, nothing for axe."""
    lab.turn_to("course-book")
    lab.page.open(f"{lab.root}/book/{SHORT}.html", scheme="dark")
    lab.soon("return document.querySelector('a.run-here')")
    assert [url for url in lab.page.requests() if not url.startswith((lab.root, "data:"))] == []
    assert lab.page.complaints() == []
    assert accessibility(lab.page) == []


# Where nothing can be run


def _shown(page: Any) -> Callable[[Any], Any]:
    return lambda _: page.js("return document.querySelector('#run-here:popover-open')")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_elsewhere_the_button_says_how(page: Any, html: Path, scheme: str, width: int) -> None:
    """By keyboard alone, without leaving the page; Escape leads back to the button."""
    page.open((html / f"{PAGE}.html").as_uri(), scheme=scheme, width=width)
    wait = WebDriverWait(page.driver, patient(60), 0.1)
    for button in page.driver.find_elements("css selector", "button.run-here")[:2]:
        page.js("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        box = wait.until(_shown(page))
        assert "make lab" in box.text
        wait.until(lambda _, box=box: page.js(_VISIBLE, box))
        assert page.js("return document.activeElement.innerText") == "Close"
        if button.get_attribute("data-exercise"):
            assert accessibility(page) == []
        ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
        wait.until(lambda driver: not _shown(page)(driver))
        assert page.js("return document.activeElement === arguments[0]", button)
    assert page.complaints() == []
    assert all(url.startswith(("file:", "data:")) for url in page.requests())


@pytest.mark.parametrize("name", SEEN)
def test_jupyterlab_shows_no_markup_no_open_answer_and_no_broken_formula(
    lab: Lab, name: str
) -> None:
    """What the scan of the files says (tests/book/notebook_faults.py), seen from the other side."""
    lab.page.open(f"{lab.root}/lab/tree/{name}.ipynb")
    text = f"{_IN_FRONT} .jp-RenderedMarkdown"
    cells = lab.soon(_TYPESET, text)
    assert [fault for cell in cells for fault in raw(cell)] == []
    open_or_broken = f"{text} :is(details[open], mjx-merror)"
    assert lab.page.js("return document.querySelectorAll(arguments[0]).length", open_or_broken) == 0
