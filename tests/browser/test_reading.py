"""What a reader does with the book, done in a browser, from files and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.book.book_files import contents
from tests.patience import patient

CHAPTERS = [name for name in contents() if name.startswith("chapters/")]
# What is linked where, each with words of its preview: an equation, a term, a source, a part of the
# package, a drawing, a figure that moves and a chapter.
PREVIEWS = [
    ("chapters/backpropagation", "#equation-eq-backpropagation-update", "𝜃"),
    ("chapters/losses", "#term-logits", "raw outputs of a classifier"),
    ("chapters/backpropagation", "bibliography.html#id", "Deep learning. MIT Press"),
    ("chapters/activations", "reference/api/", "An activation bends the line"),
    ("chapters/neurons", "#fig-neurons-knobs", "The three knobs of a neuron"),
    ("chapters/neurons", "#fig-interactive-neuron", "A neuron with a step at"),
    ("chapters/activations", "neurons.html", "Neurons"),
]
_SEEN = """
return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).length;
"""
_REMEMBER = """
window.reached = new Set();
addEventListener("focusin", event => reached.add(event.target));
document.querySelector("article h1").tabIndex = -1;
document.querySelector("article h1").focus();
const stops = "a[href], button, input, select, summary, [tabindex='0']";
return document.querySelectorAll(`article :is(${stops})`).length;
"""
_NOT_REACHED = """
return [...document.querySelectorAll("article a.reference[href]")]
  .filter(a => a.checkVisibility() && !reached.has(a)).map(a => a.outerHTML.slice(0, 120));
"""
# The formulas with a sign behind them, and those whose sign stands elsewhere than at their end.
_SIGNS = """
const apart = [], all = [...document.querySelectorAll("article .together")]
  .filter(e => e.lastChild.nodeType === Node.TEXT_NODE && e.checkVisibility());
for (const one of all) {
  const sign = document.createRange();
  sign.selectNode(one.lastChild);
  const formula = one.querySelector("mjx-container").getBoundingClientRect();
  if (sign.getBoundingClientRect().left < formula.right - 1) apart.push(one.parentNode.textContent);
}
return [all.length, apart];
"""


def _soon(page: Any, code: str, *arguments: Any) -> Any:
    """Wait until JavaScript in the page gives something true, and return it."""
    return WebDriverWait(page.driver, patient(10)).until(lambda _: page.js(code, *arguments))


def _link(page: Any, part: str) -> Any:
    link = page.driver.find_element("css selector", f'article a.reference[href*="{part}"]')
    page.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link)
    return link


def _preview(page: Any) -> str:
    found: str = _soon(
        page, "const p = document.querySelector('#preview:not([hidden])'); return p && p.innerText"
    )
    return found


def test_there_is_one_place_to_search(page: Any, html: Path) -> None:
    """Some versions of the theme draw a second one above the page."""
    for width in (390, 1300):
        page.open((html / "chapters" / "activations.html").as_uri(), width=width)
        boxes = "button.search-button, button.search-button-field, input[type=search]"
        assert page.js(_SEEN, boxes) == 1


def test_the_copy_button_copies_the_code_and_nothing_else(page: Any, html: Path) -> None:
    """The text of the first cell, as it stands, once it is unfolded."""
    page.open((html / "chapters" / "activations.html").as_uri())
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    page.js("document.querySelector('div.cell details').open = true")
    button = page.driver.find_element("css selector", "div.highlight button.copybtn")
    code = page.js("return arguments[0].parentElement.querySelector('pre').textContent", button)
    button.send_keys(Keys.ENTER)
    read = (
        "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(`${e}`));"
    )
    assert page.driver.execute_async_script(read).strip() == code.strip()
    assert "import" in code


def test_previous_and_next_lead_through_the_book(page: Any, html: Path) -> None:
    """In the order of the table of contents."""
    for before, name, after in zip(CHAPTERS, CHAPTERS[1:], CHAPTERS[2:], strict=False):
        page.open((html / f"{name}.html").as_uri(), formulas=False)
        ends = page.js(
            "return ['left-prev', 'right-next'].map(c => document.querySelector(`a.${c}`).href)"
        )
        assert ends == [(html / f"{to}.html").as_uri() for to in (before, after)]


def test_the_switch_goes_through_light_and_dark(page: Any, html: Path) -> None:
    """By keyboard; and the logo for the dark is shown in the dark."""
    page.open((html / "index.html").as_uri())
    switch = page.driver.find_element("css selector", "button.theme-switch-button")
    seen = set()
    for _ in range(3):
        switch.send_keys(Keys.ENTER)
        theme = page.js("return document.documentElement.dataset.theme")
        assert page.js(_SEEN, f".logo__image.only-{theme}") == 1
        assert page.js(_SEEN, ".logo__image") == 1
        seen.add(theme)
    assert seen == {"light", "dark"}


@pytest.mark.parametrize("how", ["keyboard", "mouse"])
@pytest.mark.parametrize(("name", "part", "words"), PREVIEWS)
def test_a_link_shows_what_it_leads_to(
    page: Any, html: Path, name: str, part: str, words: str, how: str
) -> None:
    """Until Escape, and named as the description of the link."""
    page.open((html / f"{name}.html").as_uri())
    link = _link(page, part)
    if how == "mouse":
        ActionChains(page.driver).move_to_element(link).perform()
    else:
        page.js("arguments[0].focus({focusVisible: true})", link)
    assert words in _preview(page)
    assert link.get_attribute("aria-describedby") == "preview"
    assert not link.get_attribute("title")
    pictures = (
        "const all = s => [...document.querySelectorAll(`#preview ${s}`)];"
        "return all('img').every(i => i.naturalWidth) && all('svg use').length"
        " + all('img').length >= arguments[0] && all('use').every(u => u.getBBox().width > 100)"
    )
    assert _soon(page, pictures, int("#fig-" in part))
    inside = page.js(
        "const r = document.querySelector('#preview').getBoundingClientRect();"
        "return r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight;"
    )
    assert inside, "the preview sticks out of the window"
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    assert page.js(_SEEN, "#preview") == 0
    assert link.get_attribute("aria-describedby") is None
    assert page.complaints() == []


def test_a_drawing_has_the_same_colours_in_its_preview(page: Any, html: Path) -> None:
    """In the dark too, where they are variables of the drawing."""
    name, part, _ = PREVIEWS[4]
    page.open((html / f"{name}.html").as_uri(), scheme="dark")
    page.js("arguments[0].focus({focusVisible: true})", _link(page, part))
    _preview(page)
    shown, there = page.js(
        "const shown = document.querySelector('#preview [data-drawing]');"
        "const there = document.getElementById(shown.dataset.drawing);"
        "const names = there.outerHTML.match(/--[0-9a-f]{6}-[0-9a-f]{6}/g);"
        "const values = e => names.map(n => getComputedStyle(e).getPropertyValue(n));"
        "return [values(shown), values(there)]"
    )
    assert shown == there and all(there)


def test_a_preview_stays_while_the_mouse_is_on_it_and_goes_with_it(page: Any, html: Path) -> None:
    """So that it can be read at any magnification."""
    name, part, _ = PREVIEWS[2]
    page.open((html / f"{name}.html").as_uri())
    ActionChains(page.driver).move_to_element(_link(page, part)).perform()
    _preview(page)
    box = page.driver.find_element("id", "preview")
    ActionChains(page.driver).move_to_element(box).pause(0.5).perform()
    assert page.js(_SEEN, "#preview") == 1
    heading = page.driver.find_element("css selector", ".bd-sidebar-primary .logo__title")
    ActionChains(page.driver).move_to_element(heading).perform()
    assert _soon(page, "return document.querySelector('#preview').hidden")


_ENTRY = """
const e = [...document.querySelectorAll(".bd-docs-nav a.current")].at(-1);
const r = e.getBoundingClientRect();
return [e.textContent.trim(), r.top, r.bottom, scrollY, e.checkVisibility()];
"""


def _current(page: Any) -> str:
    """Return what the side bar calls the page; the entry must be in sight, the page at its top."""
    name, top, bottom, scrolled, visible = _soon(page, _ENTRY)
    assert visible and 0 <= top < bottom <= 900
    assert scrolled == 0
    return str(name)


def test_the_side_bar_shows_where_one_is_from_chapter_to_chapter(page: Any, html: Path) -> None:
    """One after the other, as "Next" leads, and from the last to the first at once."""
    page.open((html / f"{CHAPTERS[0]}.html").as_uri(), formulas=False)
    seen = [_current(page)]
    for name in CHAPTERS[1:]:
        page.open((html / f"{name}.html").as_uri(), formulas=False)
        seen.append(_current(page))
    assert len(set(seen)) == len(CHAPTERS)
    page.open((html / f"{CHAPTERS[0]}.html").as_uri(), formulas=False)
    assert _current(page) == seen[0]


def test_the_side_bar_of_a_phone_opens_where_one_is(page: Any, html: Path) -> None:
    """It is a dialog there."""
    page.open((html / f"{CHAPTERS[-1]}.html").as_uri(), width=390)
    page.driver.find_element("css selector", ".bd-header-article .primary-toggle").click()
    _soon(page, "return document.querySelector('dialog[open] .bd-docs-nav')")
    in_sight = (
        "const r = [...document.querySelectorAll('.bd-docs-nav a.current')].at(-1)"
        ".getBoundingClientRect(); return 0 <= r.top && r.bottom <= innerHeight"
    )
    assert _soon(page, in_sight)


def test_back_to_top_lies_on_no_text_of_a_phone(page: Any, html: Path) -> None:
    """It is a part of the bar above the text, on none of its buttons, and does what it says."""
    page.open((html / "chapters" / "neurons.html").as_uri(), width=390)
    page.js("scrollTo({top: 3000, behavior: 'instant'})")
    _soon(page, "return scrollY === 3000")
    page.js("scrollTo({top: 2500, behavior: 'instant'})")
    button = page.driver.find_element("id", "pst-back-to-top")
    WebDriverWait(page.driver, patient(10)).until(lambda _: button.is_displayed())
    assert button.accessible_name == "Back to top"
    bar, mine, others = page.js(
        "const box = e => { const {left, right, top, bottom} = e.getBoundingClientRect();"
        " return {left, right, top, bottom} }, bar = document.querySelector('.bd-header-article');"
        "return [box(bar), box(arguments[0]), [...bar.querySelectorAll('button')]"
        ".filter(e => e.checkVisibility()).map(box)]",
        button,
    )
    assert bar["top"] <= mine["top"] and mine["bottom"] <= bar["bottom"]
    assert len(others) > 4
    assert all(mine["right"] <= o["left"] or o["right"] <= mine["left"] for o in others)
    button.click()
    assert _soon(page, "return scrollY < 10")


def test_the_code_of_a_figure_is_opened_by_keyboard(page: Any, html: Path) -> None:
    """The button stands below the figure, and says what it opens and closes."""
    page.open((html / "chapters" / "activations.html").as_uri())
    fold = page.driver.find_element("css selector", "details.below-figure")
    button = fold.find_element("css selector", "summary")
    assert button.accessible_name == "Code of this figure"
    figure, below = page.js(
        "const f = arguments[0]; return [f.previousElementSibling.getBoundingClientRect().bottom,"
        " f.getBoundingClientRect().top]",
        fold,
    )
    assert figure <= below
    button.send_keys(Keys.ENTER)
    assert _soon(page, "return arguments[0].querySelector('pre').checkVisibility()", fold)
    assert button.accessible_name == "Hide the code of this figure"


def test_a_letter_of_the_glossary_leads_to_its_terms(page: Any, html: Path) -> None:
    """By keyboard; the heading is then in sight, below the bar."""
    page.open((html / "reference" / "glossary.html").as_uri())
    in_sight = (
        "const h = document.querySelector(`#${arguments[0]} > h2`).getBoundingClientRect();"
        "const bar = document.querySelector('.bd-header-article').getBoundingClientRect();"
        "return h.top >= bar.bottom - 1 && h.bottom < innerHeight / 2"
    )
    for letter in ("S", "B"):
        page.driver.find_element(
            "css selector", f"p.letters a[href='#{letter.lower()}']"
        ).send_keys(Keys.ENTER)
        assert _soon(page, in_sight, letter.lower())


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_tab_key_reaches_every_link_of_a_chapter(page: Any, html: Path, name: str) -> None:
    """From the title on, in the page as it is opened."""
    page.open((html / f"{name}.html").as_uri())
    stops = page.js(_REMEMBER)
    keys = ActionChains(page.driver, duration=0)
    keys.send_keys(Keys.TAB * (stops + 20)).perform()
    assert page.js(_NOT_REACHED) == []


@pytest.mark.parametrize("width", [390, 960])
def test_no_line_begins_with_the_comma_after_a_formula(page: Any, html: Path, width: int) -> None:
    """A browser may break a line there, and in these chapters it did."""
    for chapter in ("initialisation", "numpy_network"):
        page.open((html / "chapters" / f"{chapter}.html").as_uri(), width=width)
        _soon(page, "return document.querySelector('article mjx-container')")
        page.js("document.querySelectorAll('details').forEach(d => d.open = true)")
        count, apart = page.js(_SIGNS)
        assert count > 10
        assert apart == []
