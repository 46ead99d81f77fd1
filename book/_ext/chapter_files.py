"""The chapters as files: which there are, and what stands in them. Other extensions ask here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def chapters(book: Path) -> list[Path]:
    """Return the notebooks of the chapters, in their order."""
    return sorted((book / "chapters").glob("[0-9][0-9]_*.ipynb"))


def notebook(path: Path) -> dict[str, Any]:
    """Return a notebook as it is stored."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def markdown(path: Path) -> str:
    """Return the text of a notebook, an empty line between its cells; it begins with the title."""
    cells = notebook(path)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def title(path: Path) -> str:
    """Return the title of a chapter."""
    return markdown(path).split("\n", 1)[0].removeprefix("# ").strip()
