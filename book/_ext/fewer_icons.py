"""Cuts the theme's script of two thousand icons down to those that are shown: 1.5 MB to 0.1 MB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# "arrow-left":[448,512,[8592],"f060","M9.4 ..."], as Font Awesome's script lists its icons: width,
# height, other names, character, outline.
_ICON = re.compile(
    r'"?(?P<name>[\w-]+)"?:\[\d+,\d+,\[(?P<other>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)


def cut(script: str, used: set[str]) -> str:
    """Return the script without the icons that nothing uses.

    Examples
    --------
    >>> cut('x={bars:[1,2,["navicon"],"f0c9","M0"],"sun":[1,2,[],"f185","M1"]};', {"navicon"})
    'x={bars:[1,2,["navicon"],"f0c9","M0"],};'
    """

    def keep(icon: re.Match[str]) -> str:
        names = {icon["name"], *re.findall(r'"([\w-]+)"', icon["other"])}
        return icon[0] if names & used else ""

    return _ICON.sub(keep, script)


def _finish(app: Any, exception: Exception | None) -> None:
    script = Path(app.outdir) / "_static" / "scripts" / "fontawesome.js"
    if exception is None and app.builder.format == "html" and script.is_file():
        pages = (path.read_text("utf-8") for path in Path(app.outdir).rglob("*.html"))
        used = {name for page in pages for name in re.findall(r"\bfa-([a-z0-9-]+)", page)}
        script.write_text(cut(script.read_text("utf-8"), used), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; after all else, for the theme's files are copied at the end."""
    app.connect("build-finished", _finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
