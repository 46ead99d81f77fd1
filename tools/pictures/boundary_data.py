"""Writes what the figure ``boundary`` shows: a network after each of its epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from course_lib import Adam, Network, fit, mlp
from course_lib.arrays import Array
from course_lib.toys import spirals

TARGET = Path(__file__).resolve().parents[2] / "book/_static/interactive/boundary_data.js"
SIZES = [2, 12, 12, 1]
SAMPLES, EPOCHS = 120, 60
# Numbers are written in thousandths, as integers: half the size, and equal on every machine.
UNIT = 1000


def network() -> Network:
    """Return the network that the figure shows; its output is a logit."""
    return mlp(SIZES, hidden="tanh", loss="binary_cross_entropy")


def points() -> tuple[Array, Array]:
    """Return inputs and labels: the first half is for training, the second is held out.

    The noise is so strong that arms touch: a network that follows every point is too clever.
    """
    x, y = spirals(2 * SAMPLES, classes=2, noise=0.3, rng=np.random.default_rng(2))
    return np.round(x * UNIT) / UNIT, y


def train() -> Array:
    """Return the parameters before training and after each epoch, one row each."""
    (x, y), net = points(), network()
    rows = [net.init(np.random.default_rng(0))]
    fit(
        net, rows[0], Adam(0.012), x[:SAMPLES], y[:SAMPLES],
        epochs=EPOCHS, batch_size=12, seed=0, callbacks=[lambda event: rows.append(event.theta)],
    )  # fmt: skip
    return np.array(rows)


def _line(values: Array) -> str:
    return f"[{','.join(str(v) for v in np.round(values * UNIT).astype(int))}]"


def script() -> str:
    """Return the file."""
    x, y = points()
    rows = ",\n".join(_line(row) for row in train())
    return (
        "// A network after each epoch of its training, in thousandths: "
        "written by tools/pictures/boundary_data.py.\n"
        "Figures.boundaryData = {\n"
        f"unit: {UNIT}, sizes: {SIZES}, samples: {SAMPLES},\n"
        f"x: {_line(x[:, 0])},\ny: {_line(x[:, 1])},\nlabels: {[int(label) for label in y]},\n"
        f"weights: [\n{rows},\n],\n}};\n"
    )


def main() -> None:
    """Train and write."""
    TARGET.write_text(script(), "utf-8")


if __name__ == "__main__":
    main()
