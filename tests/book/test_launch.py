"""The buttons for Binder and Colab open the notebook of the page, or are not there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.book.book_files import BOOK

pytest.importorskip("jupyter_book", reason="the book's tools are not installed")


def _config(folder: Path, account: str) -> None:
    """Write the settings of the book for one of two pages, as somebody would publish it."""
    config: dict[str, Any] = yaml.safe_load((BOOK / "_config.yml").read_text("utf-8"))
    config["repository"]["url"] = config["repository"]["url"].replace("YOUR_ACCOUNT", account)
    config["bibtex_bibfiles"] = []
    config["html"].pop("favicon")
    sphinx = config["sphinx"]
    sphinx["local_extensions"] = {"course_book.identity": str(BOOK / "_ext")}
    sphinx["config"] = {"extensions": ["myst_nb", "jupyter_book", "sphinx_external_toc"]}
    sphinx["config"]["extensions"] += ["sphinx_book_theme", "course_book.identity"]
    (folder / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.mark.parametrize("account", ["somebody", "YOUR_ACCOUNT"])
def test_launch_buttons_open_the_notebook_of_the_page(tmp_path: Path, account: str) -> None:
    """As the theme makes them from the settings of the book; without an account there is none."""
    (tmp_path / "chapters").mkdir()
    shutil.copy(BOOK / "chapters" / "conclusion.ipynb", tmp_path / "chapters")
    (tmp_path / "index.md").write_text("# Title\n", encoding="utf-8")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": "chapters/conclusion"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    _config(tmp_path, account)
    command = [Path(sys.executable).parent / "jupyter-book", "build", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    page = (tmp_path / "_build" / "html" / "chapters" / "conclusion.html").read_text("utf-8")
    found = re.findall(r'href="(https://[^"]*(?:binder|colab)[^"]*)"', page)
    where, file = f"{account}/course_lib", "book/chapters/conclusion.ipynb"
    assert found == (
        []
        if account == "YOUR_ACCOUNT"
        else [
            f"https://mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/{file}",
            f"https://colab.research.google.com/github/{where}/blob/main/{file}",
        ]
    )
