"""Writes the book's API pages: one per module of course_lib, and the list of them.

To be run (`make api`) after a module was added, renamed or removed, or its first sentence changed.
A test compares what this would write with what is there.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path("book/reference")

_PAGE = """# `{title}`

```{{eval-rst}}
.. automodule:: {name}{options}
```
"""

# Each thing is documented once, where it is defined, also if another file hands it on in __all__;
# what a class inherits from another of this package, it shows as its own.
_MEMBERS = """
   :members:
   :ignore-module-all:
   :inherited-members: object, BaseException, tuple, dict, Generic"""

_INDEX = """# API reference

Each file of `course_lib` is one concept and opens with one sentence that says what it is about.
The pages are made from the docstrings, so what they say about shapes, formulas and errors is what
`help()` says; the examples in them are run by the tests.

## The network and its training

{core}

## Parallel training

{parallel}

## Exercises

{exercises}
"""


def modules(package: Path) -> list[tuple[str, str]]:
    """Return (dotted name, first sentence) of the public modules of a package, sorted."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if any(part.startswith("_") for part in parts):
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found.append((".".join(parts), docstring.split("\n\n")[0].replace("\n", " ")))
    return sorted(found)


def pages(package: Path) -> dict[Path, str]:
    """Return the text of every API page by its path below the root of the project."""
    rows: dict[str, list[str]] = {"core": [], "parallel": [], "exercises": []}
    result = {}
    for name, sentence in modules(package):
        title = name.removeprefix("course_lib.")
        # A package only hands on what its files define, and is documented there.
        options = "" if (package.parent / name.replace(".", "/")).is_dir() else _MEMBERS
        page = _PAGE.format(title=title, name=name, options=options)
        result[REFERENCE / "api" / f"{name}.md"] = page
        part = name.split(".")[1:2]
        group = part[0] if part and part[0] in rows else "core"
        rows[group].append(f"[`{name}`](api/{name}.md)\n: {sentence}")
    lists = {group: "\n\n".join(lines) for group, lines in rows.items()}
    result[REFERENCE / "api.md"] = _INDEX.format(**lists)
    return result


def main() -> None:
    """Write the pages, and remove those of modules that are gone."""
    wanted = pages(ROOT / "course_lib")
    for path in (ROOT / REFERENCE / "api").glob("*.md"):
        if path.relative_to(ROOT) not in wanted:
            path.unlink()
    for relative, text in wanted.items():
        path = ROOT / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
