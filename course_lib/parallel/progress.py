"""How far a training is: what its loop must know to go on in the middle of an epoch.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from course_lib.training import History


@dataclass(frozen=True)
class Progress:
    """A place in a training.

    Attributes
    ----------
    epoch, step : int
        The next step to take: of which epoch, and which within it, from 0.
    taken : int
        Steps taken since the beginning.
    losses : list of float
        Per rank: its part of the losses of the epoch under way, summed over rows.
    history : dict of lists
        Of the epochs that have ended.

    Examples
    --------
    >>> Progress(epoch=1, step=2, taken=8, losses=[1.5, 2.5]).loss(0, 2)
    1.5
    """

    epoch: int = 0
    step: int = 0
    taken: int = 0
    losses: list[float] = field(default_factory=list)
    history: History = field(default_factory=dict)

    def loss(self, rank: int, size: int) -> float:
        """Return what one of `size` ranks goes on with.

        As many ranks as before have their own parts back, and the sum will have the same bits; if
        the number has changed, rank 0 takes all.
        """
        if len(self.losses) == size:
            return self.losses[rank]
        return sum(self.losses) if rank == 0 else 0.0
