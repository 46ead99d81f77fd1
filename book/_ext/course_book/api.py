"""What the API pages link to: the chapter of each function, names as users import them, the source.

A line `Chapter: losses.` in a docstring becomes a link to that chapter. It stands once, in the
module, and holds for its functions and classes. A chapter is named by its title or by the words of
its file name; a name that no chapter has is a warning, and so fails the build. `Chapter: none` says
that there is none.

`course_lib.mlp` finds `course_lib.network.mlp`: a file may hand on what another defines, and is
documented there; a docstring may leave the package out altogether. A name that could mean two
things stays unresolved: a warning.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

from .chapters import title
from .contents import chapters

ROOT = Path(__file__).resolve().parents[3]
_LINE = re.compile(r"\bChapters?: (?P<names>[^.]+)\.?\s*$")
_WITH_CHAPTER = {"function", "class", "exception"}


@cache
def chapter_names(book: Path) -> dict[str, str]:
    """Map lower-case titles and file names to document names such as ``chapters/losses``."""
    names = {}
    for stem in chapters(book):
        for name in (stem.replace("_", " "), title(book, stem)):
            names[name.lower()] = f"chapters/{stem}"
    return names


def link_line(line: str, names: dict[str, str]) -> tuple[str, list[str]]:
    """Return the line with its chapter names as links, and the names that no chapter has."""
    match = _LINE.search(line)
    if match is None or match["names"].startswith("none"):
        return line, []
    # A title may hold a comma, so the whole is tried first, and a semicolon separates for certain.
    whole = match["names"]
    separator = "\0" if whole.lower() in names else ";" if ";" in whole else ","
    wanted = [name.strip() for name in whole.split(separator)]
    unknown = [name for name in wanted if name.lower() not in names]
    links = ", ".join(
        f":doc:`{name} </{names[name.lower()]}>`" if name.lower() in names else name
        for name in wanted
    )
    label = "Chapters" if len(wanted) > 1 else "Chapter"
    return f"{line[: match.start()]}{label}: {links}.", unknown


def line_of_module(what: str, obj: Any, lines: list[str]) -> list[str]:
    """Return what a docstring lacks: the chapter line of its module, after an empty line.

    Parameters
    ----------
    what : str
        What it describes: functions and classes get the line, methods and others do not.
    obj : object
        The function or class.
    lines : list of str
        Its docstring. One that names a chapter itself, or says that there is none, lacks nothing.
    """
    if what not in _WITH_CHAPTER or any(map(_LINE.search, lines)):
        return []
    text = getattr(sys.modules.get(obj.__module__), "__doc__", None) or ""
    found = [match for match in map(_LINE.search, text.splitlines()) if match]
    if not found or found[-1]["names"].startswith("none"):
        return []
    return ["", found[-1][0].strip()]


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines += line_of_module(what, obj, lines)
    names = chapter_names(Path(app.srcdir)) | app.config.chapter_aliases
    for i, line in enumerate(lines):
        lines[i], unknown = link_line(line, names)
        for chapter in unknown:
            logging.getLogger(__name__).warning("%s: no chapter is named %r", name, chapter)


def documented(target: str, names: Any, module: str | None = None) -> str | None:
    """Return the one documented name that `target`, written in `module`, means, or None."""
    for path in (target, f"{module}.{target}"):
        owner, _, name = path.rpartition(".")
        method = ""
        if owner not in sys.modules:  # a method, of a class that a file hands on
            owner, _, name = owner.rpartition(".")
            method = f".{path.rpartition('.')[2]}"
        # Only what is there already: asking a package for a lazy name would import PyTorch or Dask.
        value = vars(sys.modules[owner]).get(name) if owner in sys.modules else None
        defined = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}{method}"
        if defined in names:
            return defined
    package, _, name = target.rpartition(".")
    ending = f".{name}" if package.startswith("course_lib") else f".{target}"
    found = [full for full in names if full.startswith("course_lib.") and full.endswith(ending)]
    return found[0] if len(found) == 1 else None


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    full = documented(node["reftarget"], domain.objects, node.get("py:module"))
    if full is None:
        return None
    source, kind = node["refdoc"], node["reftype"]
    return domain.resolve_xref(env, source, app.builder, kind, full, node, contnode)


def source(name: str, root: Path = ROOT) -> tuple[str, dict[str, tuple[str, int, int]]]:
    """Return the text of a module, and kind, first and last line of each thing that it defines.

    Raises
    ------
    FileNotFoundError
        If there is no file for it.
    """
    path = root / Path(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    analyzer = ModuleAnalyzer.for_string(file.read_text("utf-8"), name, str(file))
    return analyzer.code, analyzer.find_tags()


def setup(app: Any) -> None:
    """Register with Sphinx; priority 900 is after numpydoc has rewritten the docstring."""
    app.connect("viewcode-find-source", lambda app, name: source(name))
    app.add_config_value("chapter_aliases", {}, "env")
    app.connect("autodoc-process-docstring", _docstring, priority=900)
    app.connect("missing-reference", _resolve)
