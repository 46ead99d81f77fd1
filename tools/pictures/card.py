"""Draws the card that stands for the book where a link to it is shared: the same every time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure

from course_lib.plotting import style

TARGET = Path(__file__).resolve().parents[2] / "book" / "_static" / "card.png"
BLUE, ORANGE, INK, GREY = "#0072B2", "#D55E00", "#1d2733", "#5d6771"


def draw() -> Figure:
    """The title beside one neuron that is joined to many: 1200 x 630 pixels."""
    figure = Figure(figsize=(12, 6.3), facecolor="#ffffff", layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1200), ylim=(0, 630))
    axes.set_axis_off()
    columns = [(700, [315]), (850, [135, 255, 375, 495]), (1000, [195, 315, 435]), (1130, [315])]
    for (x0, left), (x1, right) in pairwise(columns):
        for y0 in left:
            axes.plot([[x0] * len(right), [x1] * len(right)], [[y0] * len(right), right],
                      color="#b4bec8", linewidth=2.2, zorder=1)  # fmt: skip
    for i, (x0, heights) in enumerate(columns):
        colour, size = (BLUE, 3600) if i == 0 else (ORANGE, 1700)
        axes.scatter([x0] * len(heights), heights, s=size, c=colour, zorder=2)
    for text, y0, size, weight, colour in (
        ("Neural networks", 430, 42, "bold", INK),
        ("from one neuron\nto parallel training", 315, 31, "normal", INK),
        ("NumPy, PyTorch and Dask.\nEvery step is checked.", 175, 21, "normal", GREY),
    ):
        axes.text(70, y0, text, fontsize=size, weight=weight, color=colour, va="center",
                  linespacing=1.35)  # fmt: skip
    axes.axhspan(0, 14, color=BLUE)
    return figure


def main() -> None:
    """Write the card without the version of matplotlib, which would change the file."""
    with style():
        draw().savefig(TARGET, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
