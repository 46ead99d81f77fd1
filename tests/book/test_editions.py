"""The book as PDF, EPUB and ZIP of notebooks: whole, with formulas, and linked inside."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pypdf
import pytest
from bs4 import BeautifulSoup

from tests.book.book_files import BOOK, built_book, contents, pages, without
from tools.book_source import Page
from tools.editions import built_pages, notebooks_zip, pdf
from tools.editions import epub as epub_tool

NAMES = ["index", "chapters/activations", "reference/teaching"]
XHTML, MATH = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture(scope="module")
def html() -> Path:
    """The built book, and Chromium to make the editions of it."""
    if shutil.which("chromium") is None:
        without("not installed: chromium (Debian: apt install chromium)")
    return built_book()


@pytest.fixture(scope="module")
def some() -> list[Page]:
    """A few pages: a chapter with all kinds of things, one with tables, one with cards."""
    return [page for page in built_pages.contents(BOOK) if page.name in NAMES]


@pytest.fixture(scope="module")
def epub(html: Path, some: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These pages as an EPUB."""
    target = tmp_path_factory.mktemp("epub") / "course.epub"
    epub_tool.write(html, some, target, version="1", modified="2026-01-01")
    return target


def test_the_editions_have_every_page_but_the_api_reference() -> None:
    """In the order of the contents, and each part is announced once."""
    found = built_pages.contents(BOOK)
    assert [page.name for page in found] == [
        name for name in contents() if not name.startswith("reference/api")
    ]
    parts = [page.part for page in found if page.part]
    assert len(parts) == len(set(parts)) > 5


def _article(tmp_path: Path, body: str) -> BeautifulSoup:
    (tmp_path / "a.html").write_text(f'<article class="bd-article">{body}</article>', "utf-8")
    return built_pages.article(tmp_path, Page("a"))


def test_what_only_works_on_the_web_is_left_out_or_opened(tmp_path: Path) -> None:
    """Tabs become headings, boxes open, for figures that move stands a picture."""
    text = _article(
        tmp_path,
        '<h1>T<a class="headerlink" href="#t">#</a></h1><button>Copy</button>'
        "<details><summary>Hint</summary>Look.</details>"
        '<div class="sd-tab-set"><input type="radio"><label class="l">By hand</label>'
        '<div class="sd-tab-content">2 + 2</div></div>'
        '<div class="stage"><canvas></canvas><noscript><img src="s.png" alt="A falling line.">'
        '<p class="moves">Scripts!</p></noscript></div>',
    )
    assert text.find(["button", "input", "noscript", "canvas"]) is None
    assert text.find("details")["open"]
    assert text.select_one("p.tab-name").get_text() == "By hand"
    assert "#" not in text.get_text() and "Scripts!" not in text.get_text()
    assert text.select_one(".stage img")["alt"] == "A falling line."
    assert "On the web this figure can be moved." in text.select_one(".stage").get_text()


def test_code_that_draws_and_starters_that_were_run_are_left_out(tmp_path: Path) -> None:
    """Of a folded cell stays what it draws, of an exercise the task; a lone link has no box."""
    folded = (
        '<details class="hide above-input"><summary>Show</summary><pre>ax.plot()</pre></details>'
    )
    box = (
        '<details class="sd-dropdown"><summary>Solution</summary><div class="sd-card-body">{}</div>'
    )
    text = _article(
        tmp_path,
        f'<div class="cell">{folded}<div class="cell_output"><img src="f.png" alt="f"></div></div>'
        f'<div class="cell" id="glue">{folded}</div>'
        '<div class="cell tag_exercise"><div class="cell_input"><pre>def f(): ...</pre></div>'
        '<div class="cell_output"><pre>not yet</pre></div></div>'
        '<div class="cell"><pre>1 + 1</pre><div class="cell_output"><pre>2</pre></div></div>'
        + box.format('<p><a href="#s">Solution</a></p></details>')
        + box.format('<p>See <a href="#s">this</a>.</p></details>'),
    )
    said = text.get_text()
    assert "ax.plot" not in said and "not yet" not in said and text.find(id="glue") is None
    assert text.find("img")["src"] == "f.png"
    assert "def f(): ..." in said and "1 + 1" in said and "2" in said
    assert [a.find_parent("details") is None for a in text.find_all("a")] == [True, False]


def test_links_lead_inside_or_become_text(tmp_path: Path) -> None:
    """Those to other sites stay."""
    text = _article(
        tmp_path,
        '<a href="b.html#x">b</a><a href="#y">here</a><a href="gone.html">gone</a>'
        '<a href="https://example.org">away</a><img src="_images/p.png" alt="p">',
    )
    names = {"a", "b"}
    built_pages.redirect(
        text,
        Page("a"),
        lambda name, anchor: f"{name}|{anchor}" if name in names else None,
        lambda path: f"pictures/{path.name}",
    )
    assert [a["href"] for a in text.find_all("a")] == ["b|x", "a|y", "https://example.org"]
    assert "gone" in text.get_text()
    assert text.find("img")["src"] == "pictures/p.png"


def test_formulas_are_found_with_their_tex(tmp_path: Path) -> None:
    """In the line and on their own, with a number before them."""
    text = _article(
        tmp_path,
        r'<span class="math">\(a_1\)</span>'
        r'<div class="math"><span class="eqno">(1)</span>\[x &lt; \text{\(y\)}\]</div>',
    )
    found = [(tex, display) for _, tex, display in built_pages.formulas(text)]
    assert found == [("a_1", False), (r"x < \text{\(y\)}", True)]


def test_one_page_for_print_has_no_dead_and_no_double_anchor(html: Path, some: list[Page]) -> None:
    """Nor a path of this machine in a link; MathJax comes with it."""
    soup = BeautifulSoup(pdf.assemble(html, some, "T", "A"), "html.parser")
    anchors = [str(tag["id"]) for tag in soup.find_all(id=True)]
    assert len(anchors) == len(set(anchors))
    links = [str(tag["href"]) for tag in soup.find_all("a", href=True)]
    inside = [link[1:] for link in links if link.startswith("#")]
    assert inside and set(inside) <= set(anchors)
    assert [link for link in links if not link.startswith(("#", "http", "mailto"))] == []
    assert soup.find("script", src=re.compile("mathjax"))


@pytest.fixture(scope="module")
def printed(html: Path, some: list[Page], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """These pages as a PDF, opened, and the only file that its making left."""
    target = tmp_path_factory.mktemp("pdf") / "book.pdf"
    pdf.write(html, some, target)
    assert list(target.parent.iterdir()) == [target]
    return pypdf.PdfReader(target)


def _text(page: Any) -> str:
    """Return the words of a printed page, each line and each ligature as if there were none."""
    return " ".join(unicodedata.normalize("NFKC", page.extract_text()).split())


def test_the_contents_say_on_which_page_everything_begins(
    printed: Any, html: Path, some: list[Page]
) -> None:
    """There the heading stands first, on the paper that carries that number."""
    papers = [_text(page) for page in printed.pages]
    numbers = []
    for page in some:
        title = built_pages.title(built_pages.article(html, page), page)
        said = re.search(rf"{re.escape(title)} (\d+)\b", papers[1])
        assert said is not None, page.name
        # The number of the paper, those of its equations, the heading.
        there = papers[int(said[1]) - 1]
        assert re.match(rf"{said[1]} (\([\d.]+\) )*{re.escape(title)} ", there), there[:200]
        numbers.append(int(said[1]))
    assert numbers == sorted(set(numbers)) and numbers[0] == 3


def test_a_chapter_is_printed_with_its_figures(printed: Any) -> None:
    """The picture of the one that moves, too; and the outline leads to its sections."""
    first = next(i for i, page in enumerate(printed.pages) if "5.1. What you" in _text(page))
    chapter = printed.pages[first : first + 10]
    widths = [image.image.size[0] for page in chapter for image in page.images]
    assert widths.count(1440) == 1
    text = " ".join(map(_text, chapter))
    assert "On the web this figure can be moved." in text and "not yet" not in text
    assert "5.2. Layers without a bend collapse" in str(printed.outline)


def test_the_tags_of_single_letters_are_not_in_the_file(printed: Any) -> None:
    """They would be half of it. Links inside are."""
    assert "/StructTreeRoot" not in printed.trailer["/Root"]
    lead = [link.get_object() for page in printed.pages for link in page.get("/Annots", [])]
    assert any("chapters-activations" in str(link.get("/Dest")) for link in lead)


def test_an_epub_begins_with_its_kind_and_lists_its_files(epub: Path) -> None:
    """As the standard asks for; nothing is in it that the list does not name."""
    with zipfile.ZipFile(epub) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"application/epub+zip"
        package = ElementTree.fromstring(archive.read("book/package.opf"))
        items = {item.get("href"): item for item in package.iter() if item.get("media-type")}
        inside = {n.removeprefix("book/") for n in archive.namelist() if n.startswith("book/")}
    assert set(items) == inside - {"package.opf"}
    ids = {item.get("id") for item in items.values()}
    order = [item.get("idref") for item in package.iter() if item.get("idref")]
    assert set(order) <= ids and len(order) == len(NAMES) + 1
    assert [href for href, item in items.items() if "nav" in (item.get("properties") or "")] == [
        "contents.xhtml"
    ]


def test_epub_pages_are_xml_with_formulas_as_mathml(epub: Path) -> None:
    """No TeX is left over, no script is in it, and every link and picture is there."""
    with zipfile.ZipFile(epub) as archive:
        names = {n for n in archive.namelist() if n.endswith(".xhtml")}
        trees = {n: ElementTree.fromstring(archive.read(n)) for n in names}
        everything = set(archive.namelist())
    anchors = {(n, e.get("id")) for n, tree in trees.items() for e in tree.iter() if e.get("id")}
    for name, tree in trees.items():
        assert tree.find(f".//{XHTML}script") is None
        for link in tree.iter(f"{XHTML}a"):
            page, _, anchor = (link.get("href") or "").partition("#")
            if "://" in page:
                continue
            target = f"book/{page}" if page else name
            assert target in names
            assert not anchor or (target, anchor) in anchors
        for image in tree.iter(f"{XHTML}img"):
            assert image.get("alt")
            assert str(PurePosixPath("book") / str(image.get("src"))) in everything
    chapter = trees["book/chapters-activations.xhtml"]
    assert len(list(chapter.iter(f"{MATH}math"))) > 50
    assert chapter.find(f".//{MATH}merror") is None
    for place in chapter.iter():
        if place.get("class", "").startswith("math "):
            assert place.find(f"{MATH}math") is not None
            assert "\\[" not in "".join(place.itertext())


def test_the_same_book_gives_the_same_epub(
    html: Path, some: list[Page], epub: Path, tmp_path: Path
) -> None:
    """Byte for byte: no date of today, no order by chance."""
    again = tmp_path / "again.epub"
    epub_tool.write(html, some, again, version="1", modified="2026-01-01")
    assert again.read_bytes() == epub.read_bytes()


def test_the_zip_has_every_notebook_and_what_it_needs(
    html: Path, root: Path, tmp_path: Path
) -> None:
    """The package can be installed from it, and files that notebooks read lie where they look."""
    target = tmp_path / "notebooks.zip"
    notebooks_zip.write(root, target, html.parent)
    with zipfile.ZipFile(target) as archive:
        there = {name.removeprefix("course/") for name in archive.namelist()}
        archive.extractall(tmp_path)
    learners = tmp_path / "course" / "notebooks"
    wanted = {path.relative_to(BOOK).as_posix() for path in pages(".ipynb")} | {"START_HERE.ipynb"}
    assert wanted <= {path.relative_to(learners).as_posix() for path in learners.rglob("*.ipynb")}
    assert {"pyproject.toml", "README.md", "LICENSE", "course_lib/py.typed", "START.txt"} <= there
    assert {f"course_lib/{path.name}" for path in (root / "course_lib").glob("*.py")} <= there
    for path in learners.rglob("*.ipynb"):
        for read in re.findall(r"\"(\.\./\.\./[\w/]+\.\w+)\\?\"", path.read_text("utf-8")):
            assert (path.parent / read).is_file(), read
    first = target.read_bytes()
    notebooks_zip.write(root, target, html.parent)
    assert target.read_bytes() == first


@pytest.mark.parametrize("program", ["pdf", "epub"])
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["chapters/gone"], "no page is called 'chapters/gone'; book/_toc.yml has the names"),
        (["--html", "gone"], "no built book in gone: run `make book` first"),
    ],
)
def test_an_edition_that_cannot_be_made_is_explained(
    root: Path, program: str, typed: list[str], said: str
) -> None:
    """Before anything is written."""
    command = [sys.executable, "-m", f"tools.editions.{program}", *typed]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr


def test_the_newest_version_and_its_day_come_from_the_change_log() -> None:
    """They identify the EPUB."""
    version, day = built_pages.release()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
