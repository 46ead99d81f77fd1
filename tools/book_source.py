"""The book before it is built: its folder, its notebooks, its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"


def notebooks() -> list[Path]:
    """Return the notebooks of the book, without what was built."""
    return [
        path
        for path in sorted(BOOK.rglob("*.ipynb"))
        if not any(part.startswith(("_", ".")) for part in path.relative_to(BOOK).parts)
    ]


def settings() -> dict[str, Any]:
    """Return the settings of the book."""
    found: dict[str, Any] = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    return found
