"""Draws the picture of the README: digits that the network has not seen, and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from course_lib import Adam, accuracy, data, fit, mlp
from course_lib.plotting import INK, style

TARGET = Path(__file__).resolve().parents[2] / "book" / "_static" / "readme.png"
ROWS, COLUMNS = 3, 12
BLUE, ORANGE = "#0072B2", "#D55E00"


def draw() -> Figure:
    """Train on the digits; show every mistake on the test set first, then right answers."""
    digits, net = data.load_digits(), mlp([64, 64, 10])
    start = net.init(np.random.default_rng(0))
    trained = fit(net, start, Adam(0.01), *digits[:2], epochs=30, batch_size=32, seed=0)
    says = net.predict(trained.theta, digits.x_test)
    # A stable sort of right/wrong keeps the order of the test set within each group.
    shown = np.argsort(says == digits.y_test, kind="stable")[: ROWS * COLUMNS]
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    for axes, i in zip(figure.subplots(ROWS, COLUMNS).flat, shown, strict=True):
        right = says[i] == digits.y_test[i]
        axes.imshow(digits.x_test[i].reshape(8, 8), cmap=INK, vmin=0, vmax=1)
        label = f"{says[i]}" if right else f"{says[i]}, is {digits.y_test[i]}"
        axes.set_title(label, fontsize=10, color=BLUE if right else ORANGE)
        axes.set_axis_off()
    share = accuracy(net, trained.theta, digits.x_test, digits.y_test)
    figure.suptitle(
        f"Unseen digits: {share:.1%} of {len(says)} right. All its mistakes, then right answers.",
        fontsize=10,
    )
    return figure


def main() -> None:
    """Write the picture without the version of matplotlib, which would change the file."""
    TARGET.parent.mkdir(exist_ok=True)
    with style():
        draw().savefig(TARGET, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
