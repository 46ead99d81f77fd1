"""Where the course is published is said once; what is laid out then fits together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.book.book_files import BOOK, built_book
from tools.book_source import ROOT, settings
from tools.book_source import address as book_address
from tools.publish import address, branches

SOMEBODY = "https://github.com/somebody/course"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the two files that say where the course is."""
    config, citation = tmp_path / "_config.yml", tmp_path / "CITATION.cff"
    shutil.copy(BOOK / "_config.yml", config)
    shutil.copy(ROOT / "CITATION.cff", citation)
    return config, citation


def test_the_address_is_written_and_nothing_else_is_changed(files: tuple[Path, Path]) -> None:
    """Comments stay; a second time replaces the first."""
    config, citation = files
    before = [path.read_text("utf-8") for path in files]
    for url in ("https://github.com/other/old", f"{SOMEBODY}.git"):
        address.write(url, "", config, citation)
    found = yaml.safe_load(config.read_text("utf-8"))
    assert book_address.repository(found) == SOMEBODY
    assert book_address.site(found) == "https://somebody.github.io/course/"
    cited = yaml.safe_load(citation.read_text("utf-8"))
    assert cited["repository-code"] == SOMEBODY
    assert cited["url"] == "https://somebody.github.io/course/"
    changed = {
        line
        for path, old in zip(files, before, strict=True)
        for line in set(path.read_text("utf-8").splitlines()) ^ set(old.splitlines())
    }
    keys = {line.split(":")[0].strip() for line in changed}
    assert keys <= {"url", "baseurl", "repository-code"}


def test_a_site_of_ones_own_goes_before_the_guess(files: tuple[Path, Path]) -> None:
    """And is the only way on another host than GitHub."""
    address.write("https://git.example.org/me/course", "https://example.org/nn", *files)
    found = yaml.safe_load(files[0].read_text("utf-8"))
    assert book_address.site(found) == "https://example.org/nn/"
    assert book_address.launchers(found, "chapters/losses") == {}
    assert "url: https://example.org/nn/\n" in files[1].read_text("utf-8")


@pytest.mark.parametrize(
    "wrong",
    ["", "somebody/course", "http://github.com/a/b", "https://github.com/a", "git@github.com:a/b"],
)
def test_what_is_no_address_is_refused_and_nothing_written(
    files: tuple[Path, Path], wrong: str
) -> None:
    """By a sentence with an example."""
    before = [path.read_bytes() for path in files]
    with pytest.raises(ValueError, match="one looks like https://github.com/account/name"):
        address.write(wrong, "", *files)
    assert [path.read_bytes() for path in files] == before


def test_until_then_there_is_no_address_anywhere() -> None:
    """Neither in the settings nor in what follows from them."""
    config: dict[str, Any] = {"repository": {"url": ""}, "html": {"baseurl": ""}}
    assert book_address.repository(config) == book_address.site(config) == ""
    assert book_address.launchers(config, "chapters/losses") == {}
    if not book_address.repository(settings()):
        html = built_book()
        for page in [html / "index.html", *(html / "chapters").glob("*.html")]:
            text = page.read_text("utf-8")
            assert "mybinder.org" not in text and "colab.research" not in text


def test_what_is_laid_out_is_checked(tmp_path: Path) -> None:
    """Planted: no address, a site built without buttons, a button to a missing notebook."""
    built = built_book().parent
    target = tmp_path / "publish"
    config: dict[str, Any] = {"repository": {"url": ""}, "html": {"baseurl": ""}}
    branches.write(target, built, config)
    assert (target / "site" / ".nojekyll").is_file()
    for folder in ("notebooks", "colab"):
        assert (target / "notebooks" / folder / "START_HERE.ipynb").is_file()
    assert (target / "notebooks" / "course_lib" / "__init__.py").is_file()
    assert "no address" in branches.faults(target, config)[0]
    config["repository"]["url"] = SOMEBODY
    found = branches.faults(target, config)
    assert "CITATION.cff does not name the repository" in found
    assert "chapters/losses: no button opens its notebook" in found
    page = target / "site" / "index.html"
    url = book_address.launchers(config, "chapters/gone")["Binder"]
    page.write_text(f'{page.read_text("utf-8")}<a href="{url}">x</a>', "utf-8")
    assert (
        "index.html: a button opens notebooks/chapters/gone.ipynb, which is not there"
        in branches.faults(target, config)
    )


@pytest.mark.parametrize("notebook", ["chapters/losses", "solutions/losses"])
def test_the_buttons_open_files_of_the_published_branch(notebook: str) -> None:
    """The path in the address is the path of the file."""
    launchers = book_address.launchers({"repository": {"url": SOMEBODY}}, notebook)
    assert set(launchers) == {"Binder", "Colab"}
    paths = {branches.notebook_of(url.replace("%2F", "/")) for url in launchers.values()}
    assert paths == {f"notebooks/{notebook}.ipynb", f"colab/{notebook}.ipynb"}
