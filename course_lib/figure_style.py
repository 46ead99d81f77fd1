"""How the figures of the book look: one style for all, the same picture on every run.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart; where two
classes or curves meet, the marker or the line style differs too.

Chapter: none; the figures of all chapters use it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito 2008, in an order in which neighbours also differ in lightness; yellow is left out,
# because lines in it vanish on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")


def style() -> AbstractContextManager[None]:
    """Return a context in which figures look as in the book: ``with style(): ...``.

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
    return context


def use_style() -> None:
    """Make all figures from here on look as in the book: for the first cell of a notebook.

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
        "font.size": 10,
        "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine has it
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
        "svg.hashsalt": "course_lib",  # identifiers in SVG files are random without it
    }


def axes_or_new(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure.

    Examples
    --------
    >>> axes_or_new(None).get_title()
    ''
    """
    if ax is None:
        new: Axes = _matplotlib().pyplot.subplots()[1]
        return new
    return ax


def _matplotlib() -> Any:
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            'course_lib.plotting needs matplotlib; pip install "course-lib[plot]".'
        ) from error
    return matplotlib
