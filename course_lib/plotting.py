"""The figures of the book: how training went, what a classifier decides, and one style for all.

Every helper draws on axes that it is given, or on a new figure, and returns them; none of them
uses random numbers, so that every run draws the same picture. Draw after ``use_style()``, or within
``with style():``. The colours are those of Okabe and Ito, which colour-blind readers can tell
apart; where two classes or curves meet, the marker or the line style differs too. Grey images are
dark ink on white (``INK``); where a sign has a colour, blue is positive (``SIGNED``).

Chapter: none; the figures of all chapters use it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import (
    Array,
    as_array,
    check_callable,
    check_instance,
    check_integer,
    check_matrix,
    check_numbers,
    check_sequence,
    shown,
)
from course_lib.needs import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "INK",
    "LINES",
    "MARKERS",
    "SIGNED",
    "decision_regions",
    "image_grid",
    "learning_curve",
    "style",
    "use_style",
]

# Okabe & Ito 2008, in an order in which neighbours also differ in lightness; without yellow, in
# which lines vanish on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

LINES = ("-", "--", "-.", ":")

# The two colour maps, by the names that matplotlib knows after style() or use_style(). Give SIGNED
# limits of equal size, such as vmin=-1 and vmax=1, so that zero is white.
INK = "gray_r"
SIGNED = "course_lib.signed"
_NEGATIVE, _POSITIVE = "#D55E00", "#0072B2"


def style() -> AbstractContextManager[None]:
    """Return a context in which figures look as in the book: ``with style(): ...``.

    A notebook shows its figures as vectors from then on, after the context too.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["figure.dpi"]
    110.0
    """
    context: AbstractContextManager[None] = _matplotlib().rc_context(_settings())
    _as_vectors()
    return context


def use_style() -> None:
    """Make all figures from here on look as in the book: for the first cell of a notebook.

    A notebook shows them as vectors (SVG), which are sharp at any size.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> with style():  # only so that this example changes nothing for the next one
    ...     use_style()
    """
    _matplotlib().rcParams.update(_settings())
    _as_vectors()


def _settings() -> dict[str, Any]:
    return {
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "figure.figsize": (6.4, 3.6),
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": _matplotlib().cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        # On a phone 390 pixels wide, letters of 11 points in a figure of 6.4 inches are 9 pixels.
        "font.size": 11,
        "axes.titlesize": "medium",
        "figure.titlesize": "medium",
        "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine has it
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "lines.linewidth": 1.8,
        "image.cmap": INK,
        "image.interpolation": "none",  # an SVG file then holds the pixels, not enlarged ones
        "svg.fonttype": "path",
        "svg.hashsalt": "course_lib",  # identifiers in SVG files are random without it
    }


def _as_vectors() -> None:
    """Let the notebook, if this runs in one, show figures as SVG: the same bytes on every run."""
    if "IPython" not in sys.modules or not _matplotlib().get_backend().endswith("inline"):
        return
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    nameless = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # The dots per inch are those of what is drawn as pixels inside.
    set_matplotlib_formats("svg", dpi=200, metadata=nameless)


def axes_or_new(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure.

    Examples
    --------
    >>> axes_or_new(None).get_title()
    ''
    """
    if ax is not None and not hasattr(ax, "plot"):
        raise TypeError(f"course_lib.plotting: ax must be axes of matplotlib, got {shown(ax)}.")
    if ax is None:
        new: Axes = _matplotlib().pyplot.subplots()[1]
        return new
    return ax


def _matplotlib() -> Any:
    require("matplotlib", extra="plot", who="course_lib.plotting")
    import matplotlib.pyplot
    from matplotlib.colors import LinearSegmentedColormap

    if SIGNED not in matplotlib.colormaps:
        ends = [_NEGATIVE, "white", _POSITIVE]
        matplotlib.colormaps.register(LinearSegmentedColormap.from_list(SIGNED, ends))
    return matplotlib


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
    where = "learning_curve"
    check_instance(history, Mapping, where=where, name="history", hint="such as fit(...).history")
    metrics = check_sequence(metrics, where=where, name="metrics", of="names")
    there = [name for name in metrics if isinstance(name, str) and name in history]
    if not there:
        raise ValueError(
            f"{where}: history must have one of the metrics, got none of {shown(metrics)}, only "
            f"{', '.join(map(str, history))}."
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
    ValueError, TypeError
        If the samples are not points in the plane, or the classes not whole numbers from 0 to 6.

    Examples
    --------
    >>> ax = decision_regions(lambda p: (p[:, 0] > 0).astype(int), np.eye(2), np.array([1, 0]))
    >>> len(ax.collections)
    3
    """
    where = "decision_regions"
    check_callable(predict, where=where, name="predict", takes=("points",))
    x, y = check_matrix(x, 2, where=where), as_array(y, where=where, name="y")
    if y.shape != (len(x),) or len(x) == 0:
        raise ValueError(f"{where}: y must have shape ({len(x)},), one per sample, got {y.shape}.")
    _check_classes(y, "y")
    resolution = check_integer(resolution, where=where, name="resolution", at_least=2)
    ax = axes_or_new(ax)
    margin = 0.1 * np.ptp(x, axis=0)
    sides = [
        np.linspace(*ends, resolution)
        for ends in zip(x.min(0) - margin, x.max(0) + margin, strict=True)
    ]
    grid = np.stack(np.meshgrid(*sides), axis=-1)
    found = as_array(predict(grid.reshape(-1, 2)), where=where, name="what predict returns")
    if found.size != resolution**2:
        raise ValueError(
            f"{where}: predict must return one label per point, {resolution**2}, got shape "
            f"{found.shape}."
        )
    _check_classes(found, "what predict returns")
    regions = found.reshape(resolution, resolution)
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


def _check_classes(labels: Array, name: str) -> None:
    if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= len(COLOURS):
        raise ValueError(
            f"decision_regions: {name} must hold classes, whole numbers from 0 to "
            f"{len(COLOURS) - 1}, got {shown(labels)}"
            + (f" from {labels.min()} to {labels.max()}." if labels.dtype.kind in "iuf" else ".")
        )


def image_grid(
    images: Array, titles: Sequence[object] | None = None, *, columns: int = 10
) -> Figure:
    """Show images side by side, all on the same grey scale: the more ink, the larger the number.

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
    columns = check_integer(columns, where="image_grid", name="columns", at_least=1)
    images = check_numbers(images, where="image_grid", name="images")
    if images.ndim == 2:
        side = round(np.sqrt(images.shape[1]))
        if side * side == images.shape[1]:
            images = images.reshape(-1, side, side)
    if images.ndim != 3 or images.size == 0:
        raise ValueError(
            "image_grid: images must have shape (n, height, width), or (n, pixels) of square "
            f"images, got {images.shape}."
        )
    if titles is not None:
        titles = check_sequence(titles, where="image_grid", name="titles", of="texts")
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
            ax.set_title(str(titles[i]))
    return figure
