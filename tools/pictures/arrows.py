"""Draws how the parts of the package use each other: book/_static/arrows.svg, for CONTRIBUTING.

The parts stand in the rows of the linter's contracts in pyproject.toml, and the arrows are the
imports that the code really has. Two kinds are left out: what a longer way says too, and what leads
to the last row, which everything may use. To be run (`make arrows`) after a file or folder was
added or began to use another; a test compares what this would write with what is there.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path("book/_static/arrows.svg")

WIDTH, HEIGHT, GAP, ROW, TOP = 104, 26, 14, 56, 50
_STYLE = """
text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1f2328 }
rect { fill: #fff; stroke: #57606a; rx: 4px }
.frame { fill: #eef4fb; stroke: #9db8d4 }
.name { text-anchor: start; fill: #57606a }
path { fill: none; stroke: #3b6ea5; stroke-width: 1.1; marker-end: url(#tip) }
#tip path { fill: #3b6ea5; stroke: none; marker-end: none }
""".strip()


def rows(root: Path) -> dict[str, list[list[str]]]:
    """Return, for each of the two contracts, its rows of parts from top to bottom."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = {}
    for contract in tomllib.loads(text)["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            lines = [line.split(" | ") for line in contract["layers"]]
            found[contract["containers"][0]] = lines
    return found


def uses(package: str, parts: list[str]) -> dict[str, set[str]]:
    """Return which parts of a package each part imports, without what a longer way says too."""
    graph = grimp.build_graph("course_lib")
    direct: dict[str, set[str]] = {}
    for part in parts:
        own = f"{package}.{part}"
        modules = {own, *graph.find_descendants(own)}
        used = {
            used for module in modules for used in graph.find_modules_directly_imported_by(module)
        }
        direct[part] = {
            other
            for other in parts
            for name in used - modules
            if name == f"{package}.{other}" or name.startswith(f"{package}.{other}.")
        }

    @cache
    def reached(part: str) -> frozenset[str]:
        return frozenset(direct[part]).union(*map(reached, direct[part]))

    return {
        part: {o for o in others if not any(o in reached(via) for via in others - {o})}
        for part, others in direct.items()
    }


def _panel(package: str, lines: list[list[str]], top: int, width: int) -> list[str]:
    """Draw one package: a frame, its boxes, and an arrow from each to what it uses."""
    parts = [part for line in lines for part in line]
    middle = {}
    for i, line in enumerate(lines):
        start = (width - len(line) * (WIDTH + GAP) + GAP + WIDTH) / 2
        for k, part in enumerate(line):
            middle[part] = (start + k * (WIDTH + GAP), top + TOP + i * ROW)
    out = [
        f'<rect class="frame" x="1" y="{top}" width="{width - 2}" height="{_height(lines)}"/>',
        f'<text class="name" x="12" y="{top + 22}">{package}</text>',
    ]
    for part, others in uses(package, parts).items():
        for other in sorted(others - set(lines[-1])):
            (x1, y1), (x2, y2) = middle[part], middle[other]
            y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2 - 3
            half = (y1 + y2) / 2
            out.append(f'<path d="M{x1:g} {y1:g} C{x1:g} {half:g} {x2:g} {half:g} {x2:g} {y2:g}"/>')
    for part, (x, y) in middle.items():
        corner = f'x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}"'
        out.append(f'<rect {corner} width="{WIDTH}" height="{HEIGHT}"/>')
        out.append(f'<text x="{x:g}" y="{y + 4:g}">{part}</text>')
    return out


def picture(root: Path) -> str:
    """Return the SVG: the package, and below it what is inside of its parallel part."""
    panels = rows(root)
    longest = max(len(line) for lines in panels.values() for line in lines)
    width, top = longest * (WIDTH + GAP) + 2 * GAP, 1
    out = []
    for package, lines in panels.items():
        out += _panel(package, lines, top, width)
        top += _height(lines) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}">',
            "<title>Which parts of the package use which</title>",
            f"<style>{_STYLE}</style>",
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>',
            *out,
            "</svg>\n",
        ]
    )


def _height(lines: list[list[str]]) -> int:
    return TOP + (len(lines) - 1) * ROW + HEIGHT + GAP


def main() -> None:
    """Write the picture."""
    (ROOT / PICTURE).write_text(picture(ROOT), encoding="utf-8")


if __name__ == "__main__":
    main()
