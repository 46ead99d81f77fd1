"""Asks once where the course is published, and writes it where everything else looks it up.

To be run first of `make publish`. The address of the repository goes into ``book/_config.yml`` and
``CITATION.cff``; the site, the buttons for Binder and Colab, and what the notebooks link to follow
from it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tools.book_source import BOOK, ROOT, settings
from tools.book_source import address as book_address

CONFIG, CITATION = BOOK / "_config.yml", ROOT / "CITATION.cff"
EXPLAINED = """Where will the course be published? Its repository needs an address, such as
https://github.com/account/name. It is written into book/_config.yml and CITATION.cff, once. From it
follow: the address of the book, the buttons that open a notebook in Binder or Colab, the links from
the notebooks to the book, and how the course is cited. Give it as

    make publish ADDRESS=https://github.com/account/name

and, if the book is not read on GitHub's pages, also SITE=https://where.it.is/read"""


def write(repository: str, site: str, config: Path = CONFIG, citation: Path = CITATION) -> None:
    """Write the address into both files; everything else in them stays as it is.

    Parameters
    ----------
    repository : str
        The address of the repository.
    site : str
        Where the book is read, or an empty text for GitHub's pages.
    config, citation : Path
        The two files.

    Raises
    ------
    ValueError
        If an address is not one.
    """
    repository = book_address.checked(repository)
    if site and not re.fullmatch(r"https?://\S+", site):
        raise ValueError(f"{site!r} is not the address of a site; one begins with https://")
    text = config.read_text("utf-8")
    text = _replaced(text, r"^  url: .*$", f"  url: {repository}")
    text = _replaced(text, r"^  baseurl: .*$", f'  baseurl: "{site}"')
    config.write_text(text, encoding="utf-8")
    found = {"repository": {"url": repository}, "html": {"baseurl": site}}
    lines = {"repository-code": repository, "url": book_address.site(found)}
    cited = re.sub(r"^(?:repository-code|url): .*\n", "", citation.read_text("utf-8"), flags=re.M)
    cited += "".join(f"{key}: {value}\n" for key, value in lines.items() if value)
    citation.write_text(cited, encoding="utf-8")


def _replaced(text: str, line: str, new: str) -> str:
    changed, count = re.subn(line, lambda _: new, text, flags=re.M)
    if count != 1:
        raise ValueError(f"_config.yml has {count} lines like {line!r}, not one")
    return changed


def answers(repository: str) -> bool:
    """Return whether the address answers to git as a repository; needs the network."""
    command = ["git", "ls-remote", "--quiet", repository]
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main() -> None:
    """Take the address from the command line, from the settings, or ask."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address", nargs="?", default="", help="of the repository")
    parser.add_argument("--site", default="", help="where the book is read")
    options = parser.parse_args()
    config = settings()
    address = options.address or book_address.repository(config)
    if not address:
        print(EXPLAINED)
        if not sys.stdin.isatty():
            sys.exit(2)
        address = input("\nAddress of the repository: ")
    try:
        write(address, options.site or config["html"]["baseurl"])
    except ValueError as error:
        sys.exit(f"make publish: {error}")
    written = book_address.repository(settings())
    print(f"The address is {written}; the book is read at {book_address.site(settings())}")
    if not answers(written):
        print("It does not answer yet. Make the repository before you push.")


if __name__ == "__main__":
    main()
