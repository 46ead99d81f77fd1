"""What is printed in the book was printed by its code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.book.book_files import BOOK, IMAGES, cells, contents, markdown, pages

NOTEBOOKS = pages(".ipynb")

# Cells whose output differs from run to run: "page: first line of the cell" -> the reason.
UNCOMPARED: dict[str, str] = {}

_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?:e[+-]?\d+)?(?![\w.]*\d)")


def _text(output: dict[str, Any]) -> str:
    return "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))


def code_faults(code: list[dict[str, Any]], page: str) -> list[str]:
    """Return what is wrong with the code cells of one page."""
    faults = []
    ran = [cell for cell in code if cell["source"].strip()]
    for i, cell in enumerate(ran, start=1):
        name = f"{page}: {cell['source'].splitlines()[0]}"
        tags = cell["metadata"].get("tags", [])
        if cell["execution_count"] != i:
            faults.append(f"{name} | execution count {cell['execution_count']}, expected {i}")
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                faults.append(f"{name} | writes an error or to stderr")
            if "exact-digits" not in tags:
                faults += [f"{name} | more than 6 digits: {n}" for n in long_numbers(_text(output))]
        skips = [tag for tag in tags if re.match("nbval|raises-exception", tag, re.IGNORECASE)]
        skips += re.findall(r"NBVAL_\w+", cell["source"])
        if skips and name not in UNCOMPARED:
            faults.append(f"{name} | not compared ({', '.join(skips)}) and not in the list")
        faults += [f"{name} | {fault}" for fault in figure_faults(cell)]
    return faults


def long_numbers(text: str) -> list[str]:
    """Return the decimal numbers with more than 6 significant digits."""
    return [
        n
        for n in _NUMBER.findall(text)
        if len(n.split("e")[0].replace(".", "").lstrip("0").rstrip("0")) > 6
    ]


def figure_faults(cell: dict[str, Any]) -> list[str]:
    """Return what is wrong with the figures that a code cell draws."""
    images = [o for o in cell["outputs"] if any(kind in o.get("data", {}) for kind in IMAGES)]
    alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
    if len(images) > 1:
        return ["draws more than one figure: one text cannot describe them all"]
    return ["draws a figure without alt text"] if images and not alt.strip() else []


def image_faults(text: str, page: str) -> list[str]:
    """Return the images of a Markdown text that have no alt text."""
    text = re.sub(r"``.+?``|(?<!`)`[^`\n]+`(?!`)", "", text)
    bare = re.findall(r"!\[\s*\]\([^)]*\)", text)
    bare += [tag for tag in re.findall(r"<img\b[^>]*>", text) if not re.search(r'alt="[^"]', tag)]
    for block in re.findall(
        r"^(?:`{3,}|:{3,})\{(?:figure|image)\}.*?^(?:`{3,}|:{3,})", text, re.S | re.M
    ):
        if not re.search(r"^:alt:\s*\S", block, re.M):
            bare.append(block.splitlines()[0])
    return [f"{page}: no alt text: {image}" for image in bare]


def test_there_are_notebooks() -> None:
    """A gate over an empty set passes; the set must not be empty."""
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_ran_in_order_and_is_fit_to_be_compared(path: Path) -> None:
    """Executed once from top to bottom, no stderr, no error, nothing left out of the comparison."""
    faults = code_faults(cells(path, "code"), path.stem)
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_name_the_default_kernel(path: Path) -> None:
    """A kernel named after somebody's environment exists nowhere else."""
    metadata = json.loads(path.read_text("utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"


def test_every_image_in_the_text_has_alt_text() -> None:
    """A reader who does not see the image reads what it shows."""
    every = pages(".ipynb") + pages(".md")
    faults = [fault for path in every for fault in image_faults(markdown(path), path.stem)]
    assert not faults, "\n".join(["", *faults])


def test_the_table_of_contents_names_every_page_and_nothing_else() -> None:
    """A page that is not listed is not built, and a listed one that is missing breaks the build."""
    there = {str(p.relative_to(BOOK).with_suffix("")) for p in pages(".ipynb") + pages(".md")}
    listed = contents()
    assert set(listed) == there
    assert len(listed) == len(set(listed))


def test_no_page_exists_twice() -> None:
    """A notebook beside a Markdown page of the same name: only one of them would be shown."""
    assert not {p.with_suffix("") for p in NOTEBOOKS} & {p.with_suffix("") for p in pages(".md")}


def test_the_list_of_uncompared_cells_has_no_entry_too_many() -> None:
    """An exception that nothing needs any more is removed."""
    names = {
        f"{path.stem}: {cell['source'].splitlines()[0]}"
        for path in NOTEBOOKS
        for cell in cells(path, "code")
        if cell["source"].strip()
    }
    assert set(UNCOMPARED) <= names


def _cell(**changes: Any) -> dict[str, Any]:
    cell = {"source": "f()", "execution_count": 1, "outputs": [], "metadata": {}}
    return cell | changes


_FIGURE = {"output_type": "display_data", "data": {"image/png": "", "text/plain": "<Figure>"}}


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (_cell(execution_count=None), "execution count None, expected 1"),
        (_cell(execution_count=2), "execution count 2, expected 1"),
        (_cell(outputs=[{"output_type": "stream", "name": "stderr", "text": "x"}]), "stderr"),
        (_cell(outputs=[{"output_type": "error", "ename": "E"}]), "an error"),
        (_cell(source="# NBVAL_IGNORE_OUTPUT\nf()"), "NBVAL_IGNORE_OUTPUT"),
        (_cell(metadata={"tags": ["nbval-skip"]}), "nbval-skip"),
        (_cell(outputs=[_FIGURE]), "without alt text"),
        (_cell(outputs=[_FIGURE, _FIGURE]), "more than one figure"),
        (
            _cell(outputs=[{"output_type": "stream", "name": "stdout", "text": "loss 0.12345678"}]),
            "0.12345678",
        ),
    ],
)
def test_the_gate_finds_a_planted_fault(cell: dict[str, Any], fault: str) -> None:
    """Each fault is found, so the tests above can fail."""
    (found,) = code_faults([cell], "page")
    assert fault in found


def test_the_gate_lets_a_good_cell_pass() -> None:
    """Six digits, a described figure, an exact number that is marked as one."""
    good = {"mystnb": {"image": {"alt": "A falling curve."}}}
    text = {"output_type": "stream", "name": "stdout", "text": "0.000123456 97.2222 1.5e-07"}
    exact = {"output_type": "stream", "name": "stdout", "text": "0.30000000000000004"}
    assert code_faults([_cell(metadata=good, outputs=[_FIGURE, text])], "page") == []
    assert code_faults([_cell(metadata={"tags": ["exact-digits"]}, outputs=[exact])], "page") == []


def test_images_without_alt_text_are_found() -> None:
    """In each of the ways in which MyST shows an image."""
    bad = '![](a.png)\n<img src="a.png">\n```{figure} a.png\n:width: 50%\n\nCaption\n```\n'
    good = '![a](a.png)\n<img src="a" alt="a">\n```{figure} a.png\n:alt: a\n```\n`![](x)`'
    assert len(image_faults(bad, "page")) == 3
    assert image_faults(good, "page") == []
