"""Writes what the figure ``draw_digit`` computes with: a network that reads digits, and digits.

The network is trained on the training digits, each also turned, slanted and stretched by chance:
people draw with more freedom than the forms of the data set were filled in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from course_lib import AdamW, Network, data, fit, mlp
from course_lib.arrays import Array

TARGET = Path(__file__).resolve().parents[2] / "book/_static/interactive/draw_digit_data.js"
SIZES = [64, 24, 16, 10]
COPIES, EPOCHS = 20, 20
SEED = 13  # of the seeds 0 to 13 the one that reads drawings by mouse best; no test digit chose it
# Numbers are written in ten thousandths, as integers: short, and equal on every machine.
UNIT = 10_000
SHOWN = 15  # so many test digits are shown, and with them all that the network gets wrong


def network() -> Network:
    """Return the network; its outputs are ten logits."""
    return mlp(SIZES)


def bent(x: Array, rng: np.random.Generator) -> Array:
    """Return images of 8 x 8 turned, slanted, stretched and moved, each by numbers of its own."""
    n = len(x)

    def drawn(spread: float) -> Array:
        return rng.normal(0.0, spread, (n, 1, 1))

    turn, slant, wide = np.radians(drawn(10)), drawn(0.2), np.exp(drawn(0.15))
    tall, right, down = np.exp(drawn(0.05)), drawn(0.4), drawn(0.25)
    v, u = np.meshgrid(*2 * [np.arange(8) - 3.5], indexing="ij")
    # Where in the old image each new pixel comes from, in an image with a margin of 4 pixels.
    columns = 7.5 + right + wide * np.cos(turn) * u + (slant - np.sin(turn)) * v
    rows = 7.5 + down + np.sin(turn) * u + tall * np.cos(turn) * v
    columns, rows = np.clip(columns, 0, 14.99), np.clip(rows, 0, 14.99)
    left, above = columns.astype(int), rows.astype(int)
    images, i = np.pad(x.reshape(n, 8, 8), [(0, 0), (4, 4), (4, 4)]), np.arange(n)[:, None, None]
    upper, lower = (
        images[i, row, left] * (1 - (columns - left)) + images[i, row, left + 1] * (columns - left)
        for row in (above, above + 1)
    )
    return (upper * (1 - (rows - above)) + lower * (rows - above)).reshape(n, 64)


def train() -> Array:
    """Return the parameters after training."""
    digits, net, rng = data.load_digits(), network(), np.random.default_rng(SEED)
    x = np.concatenate([digits.x_train, *(bent(digits.x_train, rng) for _ in range(COPIES))])
    y = np.tile(digits.y_train, COPIES + 1)
    theta, optimizer = net.init(np.random.default_rng(SEED)), AdamW(0.004, weight_decay=0.01)
    return fit(net, theta, optimizer, x, y, epochs=EPOCHS, batch_size=128, seed=0).theta


def rounded(theta: Array) -> Array:
    """Return the parameters as the file has them: in whole units."""
    return np.round(theta * UNIT).astype(int)


def shown(theta: Array) -> list[int]:
    """Return which test digits the figure offers: the first ones, and all that are read wrongly."""
    digits = data.load_digits()
    wrong = np.flatnonzero(network().predict(theta, digits.x_test) != digits.y_test)
    return sorted({*range(SHOWN), *wrong.tolist()})


def script() -> str:
    """Return the file."""
    digits, weights = data.load_digits(), rounded(train())
    theta = weights / UNIT
    right = int(np.sum(network().predict(theta, digits.x_test) == digits.y_test))
    rows = "".join(
        f"[{digits.y_test[k]}, [{','.join(str(int(v)) for v in 16 * digits.x_test[k])}]],\n"
        for k in shown(theta)
    )
    lines = "".join(f"{','.join(map(str, row))},\n" for row in np.array_split(weights, 50))
    return (
        "// A trained network that reads digits, and test digits with their labels: "
        "written by tools/pictures/digit_network.py.\n"
        "Figures.digitData = {\n"
        f"unit: {UNIT}, sizes: {SIZES}, right: {right}, tests: {len(digits.y_test)},\n"
        f"digits: [\n{rows}],\nweights: [\n{lines}],\n}};\n"
    )


def main() -> None:
    """Train and write."""
    TARGET.write_text(script(), "utf-8")


if __name__ == "__main__":
    main()
