"""Where the project is published, as ``book/_config.yml`` says; nothing until it says so."""

from __future__ import annotations

from typing import Any

NOBODY = "YOUR_ACCOUNT"


def repository(config: dict[str, Any]) -> str:
    """Return the address of the repository, or an empty text where none is set.

    Examples
    --------
    >>> repository({"repository": {"url": "https://github.com/me/course/"}})
    'https://github.com/me/course'
    """
    url = str(config["repository"]["url"]).rstrip("/")
    return "" if NOBODY in url else url


def site(config: dict[str, Any]) -> str:
    """Return where the book is read: ``html: baseurl:``, else the GitHub pages of the repository.

    Examples
    --------
    >>> site({"repository": {"url": "https://github.com/me/course"}})
    'https://me.github.io/course/'
    """
    base = config.get("html", {}).get("baseurl", "")
    if not base and repository(config):
        owner, name = repository(config).split("/")[-2:]
        base = f"https://{owner}.github.io/{name}"
    return f"{base.rstrip('/')}/" if base else ""
