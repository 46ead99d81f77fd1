"""Lays out what is published: the built book, and the project with the learner's notebooks.

To be run (`make publish`) when the book was built with its address. Nothing is sent anywhere: the
last lines say what to type.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tools.book_source import BOOK, ROOT, notebooks, settings
from tools.book_source import address as book_address
from tools.notebooks import learner

TARGET = BOOK / "_build" / "publish"
_LAUNCH = re.compile(
    r'href="(?:https://mybinder\.org/v2/gh/(?P<binder>[^"]*)'
    r'|https://colab\.research\.google\.com/github/(?P<colab>[^"]*))"'
)


def write(target: Path, built: Path, config: dict[str, Any]) -> None:
    """Write the two folders ``site`` and ``notebooks``, each to become a branch."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(built / "html", target / "site")
    # GitHub's pages would leave out all folders that begin with an underscore.
    (target / "site" / ".nojekyll").touch()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            copy = target / "notebooks" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy)
    learner.write(target / "notebooks" / "notebooks", "web", built, config)
    learner.write(target / "notebooks" / "colab", "colab", built, config)


def faults(target: Path, config: dict[str, Any]) -> list[str]:
    """Return what would be wrong with the published course.

    Parameters
    ----------
    target : Path
        The folder that :func:`write` wrote.
    config : dict
        The settings of the book.
    """
    site, branch = book_address.site(config), target / "notebooks"
    found = []
    if not site:
        found.append("no address: `make publish` asks for it")
    for page in sorted((target / "site").rglob("*.html")):
        html, name = page.read_text("utf-8"), page.relative_to(target / "site").as_posix()
        for launch in _LAUNCH.finditer(html):
            path = notebook_of(unquote(unescape(launch["binder"] or launch["colab"])))
            if not (branch / path).is_file():
                found.append(f"{name}: a button opens {path}, which is not there")
        if site and 'property="og:url"' in html and f'content="{site}' not in html:
            found.append(f"{name}: its card names another site than {site}")
    if book_address.launchers(config, ""):
        pages = [path.relative_to(BOOK).with_suffix("").as_posix() for path in notebooks()]
        for name in pages:
            if not _LAUNCH.search((target / "site" / f"{name}.html").read_text("utf-8")):
                found.append(f"{name}: no button opens its notebook")
    if book_address.repository(config) not in (branch / "CITATION.cff").read_text("utf-8"):
        found.append("CITATION.cff does not name the repository")
    return found


def notebook_of(launch: str) -> str:
    """Return the file that a launch address opens, from the folder of the branch.

    Examples
    --------
    >>> notebook_of("me/course/notebooks?urlpath=lab/tree/notebooks/chapters/losses.ipynb")
    'notebooks/chapters/losses.ipynb'
    >>> notebook_of("me/course/blob/notebooks/colab/chapters/losses.ipynb")
    'colab/chapters/losses.ipynb'
    """
    if "lab/tree/" in launch:
        return launch.partition("lab/tree/")[2]
    return launch.partition(f"/blob/{book_address.NOTEBOOKS_BRANCH}/")[2]


def main() -> None:
    """Lay out the branches, check them, and say what to type."""
    config = settings()
    write(TARGET, learner.BUILT, config)
    wrong = faults(TARGET, config)
    if wrong:
        sys.exit("\n".join(["make publish: not ready:", *wrong]))
    print(
        "Checked: the site, the buttons, the notebooks and the citation fit together. To publish:"
    )
    branches = {"site": book_address.SITE_BRANCH, "notebooks": book_address.NOTEBOOKS_BRANCH}
    for folder, branch in branches.items():
        print(f"\n  cd {(TARGET / folder).relative_to(ROOT)}")
        print(f"  git init -q -b {branch} && git add -A -f && git commit -qm 'The course'")
        print(f"  git push --force {book_address.repository(config)} {branch}")
        print("  cd -")


if __name__ == "__main__":
    main()
