"""The figures of the book: how training went, what a classifier decides, what a network looks like.

Every helper draws on axes that it is given, or on a new figure, and returns them; none of them
uses random numbers. Draw after ``use_style()``, or within
``with style():``.

Chapter: none; the figures of all chapters use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arrays import Array
from course_lib.diagrams import image_grid, network_diagram
from course_lib.figure_style import COLOURS, LINES, MARKERS, axes_or_new, style, use_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "LINES",
    "MARKERS",
    "decision_regions",
    "image_grid",
    "learning_curve",
    "network_diagram",
    "style",
    "use_style",
]


def learning_curve(
    history: Mapping[str, Sequence[float]],
    *,
    ax: Axes | None = None,
    metrics: Sequence[str] = ("loss", "val_loss"),
) -> Axes:
    """Draw how training went: one line per metric, epoch by epoch.

    Parameters
    ----------
    history : dict of str to list of float
        ``FitResult.history``.
    ax : Axes, optional
        Where to draw; a new figure without it.
    metrics : sequence of str
        Which keys to draw; those that the history lacks are left out.

    Raises
    ------
    ValueError
        If the history has none of them.

    Examples
    --------
    >>> ax = learning_curve({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    >>> [line.get_label() for line in ax.lines]
    ['training loss', 'validation loss']
    """
    there = [name for name in metrics if name in history]
    if not there:
        raise ValueError(
            f"learning_curve: the history has none of {', '.join(metrics)}, only "
            f"{', '.join(history)}."
        )
    ax = axes_or_new(ax)
    for i, name in enumerate(there):
        what = name.removeprefix("val_")
        label = f"validation {what}" if name != what else f"training {what}"
        ax.plot(range(1, len(history[name]) + 1), history[name], LINES[i % 4], label=label)
    ax.set_xlabel("epoch")
    ax.set_ylabel(there[0].removeprefix("val_"))
    ax.legend()
    return ax


def decision_regions(
    predict: Callable[[Array], Array],
    x: Array,
    y: Array,
    *,
    ax: Axes | None = None,
    resolution: int = 200,
) -> Axes:
    """Colour the plane by the class that is predicted there, and draw the samples on top.

    Parameters
    ----------
    predict : callable
        Takes points (m, 2), returns class labels (m,).
    x : array, shape (n, 2)
        The samples.
    y : array of int, shape (n,)
        Their classes, counted from 0, at most seven.
    ax : Axes, optional
        Where to draw; a new figure without it.
    resolution : int
        Points along each side of the grid on which `predict` is asked.

    Raises
    ------
    ValueError
        If the samples are not points in the plane.

    Examples
    --------
    >>> ax = decision_regions(lambda p: (p[:, 0] > 0).astype(int), np.eye(2), np.array([1, 0]))
    >>> len(ax.collections)
    3
    """
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"decision_regions: x must have shape (n, 2), got {x.shape}.")
    ax = axes_or_new(ax)
    margin = 0.1 * np.ptp(x, axis=0)
    sides = [
        np.linspace(*ends, resolution)
        for ends in zip(x.min(0) - margin, x.max(0) + margin, strict=True)
    ]
    grid = np.stack(np.meshgrid(*sides), axis=-1)
    regions = np.reshape(predict(grid.reshape(-1, 2)), (resolution, resolution))
    classes = int(max(regions.max(), y.max())) + 1
    from matplotlib.colors import ListedColormap

    ax.pcolormesh(
        *sides, regions, cmap=ListedColormap(COLOURS[:classes]), vmin=-0.5, vmax=classes - 0.5,
        alpha=0.25, shading="nearest", rasterized=True,
    )  # fmt: skip
    for label in range(classes):
        own = x[y == label]
        ax.scatter(
            own[:, 0], own[:, 1], s=18, color=COLOURS[label], marker=MARKERS[label],
            edgecolors="white", linewidths=0.5, label=f"class {label}",
        )  # fmt: skip
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    ax.grid(False)
    return ax
