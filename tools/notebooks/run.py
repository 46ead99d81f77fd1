"""Runs notebooks in fresh kernels and writes their outputs, without what changes from run to run.

Without arguments it runs all of the book, otherwise the notebooks that are named.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.book_source import notebooks

SECONDS_PER_CELL = 120

_PATH = re.compile(r'(?<= d=")[^"]*')
# What enlarges keeps its digits: an image of 600 pixels would be off by some of them otherwise.
_DIGITS = re.compile(r"(?:scale|matrix)\([^)]*\)|-?\d+\.\d{3,}")


def execute(path: Path) -> nbformat.NotebookNode:
    """Return a notebook as a fresh kernel runs it; an error in a cell stops with its traceback."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    return notebook


def run(path: Path) -> None:
    """Execute one notebook in place."""
    notebook = execute(path)
    normalise(notebook)
    nbformat.write(notebook, path)


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Keep of the metadata only what the book needs, so that a second run changes nothing."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {
        **{key: notebook.metadata[key] for key in ("jupytext", "myst") if key in notebook.metadata},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{number:02}")
        for key in ("execution", "collapsed", "scrolled", "jupyter"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            if "image/svg+xml" in output.get("data", {}):
                output.data["image/svg+xml"] = compact(output.data["image/svg+xml"])


def compact(svg: str) -> str:
    r"""Return a figure with a line per element, and no digits below a hundredth of a point.

    Matplotlib writes a line per point of a curve, and the last of six digits differs between
    machines: half a notebook would be that.

    Examples
    --------
    >>> compact('<g>\n  <path d="M 1.23456 2 \nL 3 4.5 \n"/>')
    '<g>\n<path d="M 1.23 2 L 3 4.5"/>'
    """

    def rounded(found: re.Match[str]) -> str:
        if found[0][0] in "sm":
            return found[0]
        return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")

    svg = _PATH.sub(lambda found: " ".join(found[0].split()), svg)
    return re.sub(r"\n\s+", "\n", _DIGITS.sub(rounded, svg))


def main() -> None:
    """Run the notebooks that are named, or all."""
    named = [Path(name) for name in sys.argv[1:]]
    for path in named or notebooks():
        start = time.perf_counter()
        run(path)
        print(f"{path.name}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
