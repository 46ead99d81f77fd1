"""How far a training is, as a bar that moves: only where it is asked for.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator

from course_lib.evaluation import History


def epochs_with_bar(epochs: range, history: History, progress: bool) -> Iterator[int]:
    """Count the epochs, with a progress bar that shows the newest numbers if asked for.

    Examples
    --------
    >>> list(epochs_with_bar(range(3), {}, progress=False))
    [0, 1, 2]
    """
    if not progress:
        yield from epochs
        return
    from tqdm.auto import tqdm  # here, because it would double the import time of the package

    with tqdm(epochs, unit="epoch") as bar:
        for epoch in bar:
            yield epoch
            bar.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items()})
