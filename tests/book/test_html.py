"""The built book is whole: no rendered errors, no dead links, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.book.book_files import BOOK, built_book, cells, contents, markdown, parsed
from tests.book.html_faults import scan
from tools.book_source import address, settings


@pytest.fixture(scope="module")
def html() -> Path:
    """The folder of the built book."""
    return built_book()


def test_every_page_of_the_contents_was_built(html: Path) -> None:
    """The scan below sees only the pages that are there."""
    assert [name for name in contents() if not (html / f"{name}.html").is_file()] == []


def test_the_built_book_has_no_faults(html: Path) -> None:
    """See html_faults.py for what counts as one."""
    faults = scan(html)
    assert not faults, "\n".join(["", *faults])


def test_mathjax_comes_with_the_book(html: Path) -> None:
    """Formulas must be readable without a network."""
    page = (html / "reference" / "notation.html").read_text("utf-8")
    assert 'src="../_static/mathjax/' in page


def test_functions_and_classes_of_the_api_link_to_the_chapter_of_their_module(html: Path) -> None:
    """Whether their docstring names it or the module's alone does."""
    without, seen = [], 0
    for page in (html / "reference" / "api").rglob("*.html"):
        soup = parsed(page)
        for section in soup.select("article section:has(> dl.py)"):
            own = [tag for tag in section.find_all(recursive=False) if tag.name == "p"]
            if not any(tag.select('a[href*="chapters/"]') for tag in own):
                continue
            for member in section.select(":scope > dl:is(.function, .class, .exception)"):
                seen += 1
                if not member.select('a[href*="chapters/"]') and "Chapter: none" not in member.text:
                    without.append(member.dt["id"])
    assert without == [] and seen > 100


def test_each_page_that_is_a_notebook_can_be_run_and_each_exercise_at_its_starter(
    html: Path,
) -> None:
    """The buttons name the notebook, the cell and the exercise as the notebook itself does."""
    seen = 0
    for name in contents():
        source = BOOK / f"{name}.ipynb"
        buttons = _buttons(html / f"{name}.html")
        if not source.is_file():
            assert buttons == [], name
            continue
        starters = [c for c in cells(source, "code") if "exercise" in c["metadata"]]
        labels = re.findall(r"\((ex-[\w-]+)\)=", markdown(source))
        wanted = [(f"{name}.ipynb", None, None)]
        wanted += [
            (f"{name}.ipynb", c["id"], label) for c, label in zip(starters, labels, strict=True)
        ]
        assert buttons == wanted
        seen += len(starters)
    assert seen > 100


def _buttons(page: Path) -> list[tuple[str | None, ...]]:
    """Return where the buttons of a page lead; each opens the one box.

    As long as the project has no address, the box leads nowhere.
    """
    soup = parsed(page)
    found = soup.select("button.run-here")
    boxes = soup.select("#run-here[popover]")
    assert len(boxes) == bool(found)
    assert all(button["popovertarget"] == "run-here" for button in found)
    assert address.repository(settings()) or all(box.select("[href]") == [] for box in boxes)
    return [tuple(b.get(f"data-{key}") for key in ("notebook", "cell", "exercise")) for b in found]


def test_no_page_shows_what_an_unsolved_exercise_prints(html: Path) -> None:
    """The notebooks do: there one can act on it."""
    for name in (n for n in contents() if n.startswith("chapters/")):
        soup = parsed(html / f"{name}.html")
        assert soup.select(".tag_exercise .cell_output") == []
        assert "run this cell again" not in soup.select_one("article").text


def test_functions_and_classes_of_the_api_link_to_their_source(html: Path) -> None:
    """And there stands, at the place that is linked to, what defines them."""
    seen, wrong = 0, []
    sources: dict[str, BeautifulSoup] = {}
    for page in (html / "reference" / "api").rglob("*.html"):
        soup = parsed(page)
        for sign in soup.select("dl:is(.function, .class, .exception) > dt"):
            module, _, name = str(sign["id"]).rpartition(".")
            file = f"../../_modules/{module.replace('.', '/')}.html"
            if sign.select_one(f'a[href="{file}#{name}"]') is None:
                wrong.append(f"{sign['id']}: no link to {file}#{name}")
                continue
            if file not in sources:
                sources[file] = parsed((page.parent / file).resolve())
            block = sources[file].find(id=name)
            seen += 1
            defined = re.compile(rf"^(?:def|class) {name}\b", re.MULTILINE)
            if block is None or not defined.search(block.text):
                wrong.append(f"{sign['id']}: not in {file}")
    assert wrong == [] and seen > 300


_PAGE = '<html><body><p id="here">text</p>{}</body></html>'
_REMOTE = "https://example.org/x"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<pre>Traceback (most recent call last)\n</pre>", "shows 'Traceback"),
        ("<p>distributed.worker - ERROR - x</p>", "shows 'distributed.worker"),
        ("<p>see [?]</p>", "shows '[?]'"),
        ("<pre>f(x)  # fmt: skip</pre>", "shows '# fmt:'"),
        ('<div class="cell_output"><pre>UserWarning: x</pre></div>', "output shows"),
        ('<div class="system-message">x</div>', "system-message in the page"),
        ('<span class="problematic">x</span>', "problematic in the page"),
        ('<code class="xref py">f</code>', "unresolved reference 'f'"),
        ('<a href="gone.html">x</a>', "dead link gone.html"),
        ('<a href="other.html#gone">x</a>', "dead anchor other.html#gone"),
        ('<a href="#gone">x</a>', "dead anchor #gone"),
        ('<a href="#None">x</a>', "dead anchor #None"),
        ('<img src="gone.png" alt="x">', "dead link gone.png"),
        ('<img src="other.html">', "no alt text: other.html"),
        ('<div class="drawing"><svg id="d" role="img"></svg></div>', "no alt text: d"),
        (f'<script src="{_REMOTE}"></script>', f"remote file {_REMOTE}"),
        ('<script src="//example.org/x"></script>', "remote file //example.org/x"),
        (f'<link rel="stylesheet" href="{_REMOTE}">', f"remote file {_REMOTE}"),
        (f'<img src="{_REMOTE}" alt="x">', f"remote file {_REMOTE}"),
    ],
)
def test_the_scan_finds_a_planted_fault(tmp_path: Path, body: str, fault: str) -> None:
    """Each kind of fault, alone in a page that is otherwise whole."""
    (tmp_path / "page.html").write_text(_PAGE.format(body), encoding="utf-8")
    (tmp_path / "other.html").write_text(_PAGE.format(""), encoding="utf-8")
    (found,) = scan(tmp_path)
    assert found.startswith(f"page.html: {fault}")


def test_the_scan_finds_a_remote_font(tmp_path: Path) -> None:
    """A style sheet can load files too."""
    (tmp_path / "a.css").write_text(f"@font-face {{ src: url('{_REMOTE}') }}", encoding="utf-8")
    assert scan(tmp_path) == [f"a.css: remote file {_REMOTE}"]


def test_the_scan_lets_a_good_page_pass(tmp_path: Path) -> None:
    """Links to other sites, a doctest that shows an error, a name that is linked."""
    body = (
        f'<a href="{_REMOTE}">x</a> <a href="page.html#here">x</a> <a href="#here">x</a>'
        "<pre>&gt;&gt;&gt; f()\nTraceback (most recent call last)\n</pre>"
        "<pre>def f():\n  &gt;&gt;&gt; f()\n  Traceback (most recent call last):\n  ...\n  A</pre>"
        '<a href="#here"><code class="xref">f</code></a>'
    )
    (tmp_path / "page.html").write_text(_PAGE.format(body), encoding="utf-8")
    assert scan(tmp_path) == []
