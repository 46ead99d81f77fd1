"""Takes a picture of each interactive figure, for where no script runs: print, e-books, notebooks.

To be run (`make snapshots`) after `make book`, when a figure was added or looks different.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from tools.book_source import BOOK
from tools.chromium import Tab, chromium

HTML = BOOK / "_build" / "html"
TARGET = BOOK / "_static" / "interactive" / "snapshots"
WIDTH, SCALE, MARGIN = 720, 2, 8
COLOURS = 128

# In which state a figure is shown, where the one that it begins in says little: where controls are
# set, by their key, and which buttons are pushed how often, by their text.
STATES: dict[str, dict[str, Any]] = {
    "backprop": {"Next": 20},
    "boundary": {"epoch": 30},
    "break_it": {"1. derivative left out": 1, "epoch": 40},
    "descent": {"rate": 0.12, "steps": 20},
    "ring": {"step": 4},
}

# Buttons say what can be done, which here cannot.
_PREPARE = """
const [name, state] = arguments;
const box = document.querySelector(`[data-figure="${name}"]`);
for (const [key, value] of Object.entries(state)) {
  const input = document.getElementById(`${name}-${key}`);
  if (input) {
    input.value = value;
    input.dispatchEvent(new Event("input", {bubbles: true}));
    continue;
  }
  const button = [...box.querySelectorAll("button")].find(b => b.textContent === key);
  for (let i = 0; i < value; i++) button.click();
}
box.querySelectorAll(".buttons").forEach(row => row.remove());
box.querySelector(".numbers").style.minHeight = 0;
return box.querySelector(".numbers").textContent;
"""


def sentence(tab: Tab, html: Path, name: str) -> str:
    """Open a figure, bring it into the state of its picture, and return what it says there."""
    tab.size(WIDTH + 2 * MARGIN, 900, SCALE)
    tab.open(html / "figures" / f"{name}.html")
    said: str = tab.js(_PREPARE, name, STATES.get(name, {}))
    return said


def compact(png: bytes, said: str) -> bytes:
    """Return a picture with as many colours as a drawing needs, and what it says in its head."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    about = PngImagePlugin.PngInfo()
    about.add_itxt("Description", said)
    file = io.BytesIO()
    few.save(file, "PNG", optimize=True, pnginfo=about)
    return file.getvalue()


def main() -> None:
    """Take the pictures of all figures of the built book, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="figures such as neuron")
    parser.add_argument("--html", type=Path, default=HTML, help="the built book")
    options = parser.parse_args()
    there = sorted(path.stem for path in (options.html / "figures").glob("*.html"))
    unknown = sorted(set(options.names) - set(there))
    if unknown or not there:
        parser.error(f"no page figures/{(unknown or ['NAME'])[0]}.html: run `make book` first")
    TARGET.mkdir(exist_ok=True)
    with chromium() as tab:
        for name in options.names or there:
            said = sentence(tab, options.html, name)
            (TARGET / f"{name}.png").write_bytes(compact(tab.picture(".stage"), said))
            print(TARGET / f"{name}.png")


if __name__ == "__main__":
    main()
