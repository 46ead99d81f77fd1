"""Where the project is published: set once, in ``_config.yml``, by `make publish`.

Until then there is no address, and nothing shows one. What is published are two branches beside the
project's own: the built book, and the project with the learner's notebooks, which Binder and Colab
open.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

SITE_BRANCH, NOTEBOOKS_BRANCH = "gh-pages", "notebooks"
_REPOSITORY = re.compile(r"https://[\w.-]+\.[a-z]+/[\w.-]+/[\w.-]+")
_GITHUB = "https://github.com/"


def repository(config: dict[str, Any]) -> str:
    """Return the address of the repository, or an empty text where none is set.

    Examples
    --------
    >>> repository({"repository": {"url": "https://github.com/me/course/"}})
    'https://github.com/me/course'
    """
    return str(config.get("repository", {}).get("url") or "").rstrip("/").removesuffix(".git")


def site(config: dict[str, Any]) -> str:
    """Return where the book is read: ``html: baseurl:``, else the GitHub pages of the repository.

    Examples
    --------
    >>> site({"repository": {"url": "https://github.com/me/course"}})
    'https://me.github.io/course/'
    """
    base = config.get("html", {}).get("baseurl") or ""
    if not base and repository(config).startswith(_GITHUB):
        owner, name = repository(config).split("/")[-2:]
        base = f"https://{owner}.github.io/{name}"
    return f"{base.rstrip('/')}/" if base else ""


def launchers(config: dict[str, Any], notebook: str) -> dict[str, str]:
    """Return the addresses that open a notebook in Binder and in Colab, by their names.

    Both open what lies on GitHub; for another host, or none, the result is empty.

    Examples
    --------
    >>> config = {"repository": {"url": "https://github.com/me/course"}}
    >>> launchers(config, "chapters/losses")["Colab"]
    'https://colab.research.google.com/github/me/course/blob/notebooks/colab/chapters/losses.ipynb'
    """
    if not repository(config).startswith(_GITHUB):
        return {}
    where, branch = repository(config).removeprefix(_GITHUB), NOTEBOOKS_BRANCH
    path = quote(f"lab/tree/notebooks/{notebook}.ipynb")
    colab = f"https://colab.research.google.com/github/{where}/blob/{branch}/colab/{notebook}.ipynb"
    return {
        "Binder": f"https://mybinder.org/v2/gh/{where}/{branch}?urlpath={path}",
        "Colab": colab,
    }


def checked(address: str) -> str:
    """Return an address as it is written down.

    Raises
    ------
    ValueError
        If it is not that of a repository.

    Examples
    --------
    >>> checked(" https://github.com/me/course.git ")
    'https://github.com/me/course'
    """
    found = address.strip().rstrip("/").removesuffix(".git")
    if not _REPOSITORY.fullmatch(found):
        raise ValueError(
            f"{address!r} is not the address of a repository; "
            "one looks like https://github.com/account/name"
        )
    return found
