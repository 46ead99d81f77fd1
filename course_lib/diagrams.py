"""Pictures that are not curves: images side by side, and the layers of a network.

Chapter: none; the figures of all chapters use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arrays import Array
from course_lib.figure_style import COLOURS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def image_grid(
    images: Array, titles: Sequence[object] | None = None, *, columns: int = 10
) -> Figure:
    """Show images side by side, all on the same grey scale.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height * height)
        Rows of pixels are taken to be square images.
    titles : sequence, optional
        One per image.
    columns : int
        Images per row.

    Raises
    ------
    ValueError
        If the images are neither, or the number of titles is another.

    Examples
    --------
    >>> len(image_grid(np.zeros((3, 64)), ["a", "b", "c"]).axes)
    3
    """
    if images.ndim == 2:
        side = round(np.sqrt(images.shape[1]))
        if side * side == images.shape[1]:
            images = images.reshape(-1, side, side)
    if images.ndim != 3:
        raise ValueError(
            "image_grid: images must have shape (n, height, width), or (n, pixels) of square "
            f"images, got {images.shape}."
        )
    if titles is not None and len(titles) != len(images):
        raise ValueError(
            f"image_grid: expected {len(images)} titles (one per image), got {len(titles)}."
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(0.8 * columns, (0.8 + 0.25 * (titles is not None)) * rows))
    for i, image in enumerate(images):
        ax = figure.add_subplot(rows, columns, i + 1)
        ax.imshow(image, vmin=images.min(), vmax=images.max())
        ax.axis("off")
        if titles is not None:
            ax.set_title(str(titles[i]), fontsize=9)
    return figure


def network_diagram(sizes: Sequence[int], *, ax: Axes | None = None, most: int = 8) -> Axes:
    """Draw a network as units in columns, joined from each layer to the next.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, inputs first.
    ax : Axes, optional
        Where to draw; a new figure without it.
    most : int
        Of larger layers only so many units are drawn, around an ellipsis.

    Examples
    --------
    >>> ax = network_diagram([64, 3, 2])
    >>> [text.get_text() for text in ax.texts]
    ['⋮', '64', '3', '2']
    """
    ax = axes_or_new(ax)
    columns: list[Array] = []
    for layer, size in enumerate(sizes):
        shown = min(size, most)
        y = (shown - 1) / 2 - np.arange(shown, dtype=np.float64)
        if size > most:  # leave a gap for the ellipsis
            y[: shown // 2] += 0.5
            y[shown // 2 :] -= 0.5
            ax.text(
                layer, float(y[shown // 2 - 1] + y[shown // 2]) / 2, "⋮", ha="center", va="center"
            )
        columns.append(y)
    from matplotlib.collections import LineCollection

    joints = [
        ((layer, a), (layer + 1, b))
        for layer, (left, right) in enumerate(pairwise(columns))
        for a in left
        for b in right
    ]
    ax.add_collection(LineCollection(joints, colors="0.75", linewidths=0.6, zorder=1))
    top = max(float(y[0]) for y in columns)
    for layer, (size, y) in enumerate(zip(sizes, columns, strict=True)):
        ax.scatter(np.full(len(y), layer), y, s=110, color=COLOURS[0], edgecolors="white", zorder=2)
        ax.text(layer, -top - 1.1, str(size), ha="center", va="center")
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_ylim(-top - 1.6, top + 0.6)
    ax.axis("off")
    return ax
