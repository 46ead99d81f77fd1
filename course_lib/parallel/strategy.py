"""A strategy is how the ranks share the work of a step; the loop around the steps is the same.

A strategy describes, as a frozen dataclass whose ``repr`` documents the experiment. What changes
while a training runs (parameters, the optimizer's state, buffers) lives in a session, which each
rank starts for itself.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from course_lib.arrays import Array
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm

if TYPE_CHECKING:
    from course_lib.network import Network
    from course_lib.parallel.job import Job


class Model(Protocol):
    """What computes gradients: a Network, or its twin in another library."""

    @property
    def loss_and_grad(self) -> Callable[..., tuple[float, Array]]:
        """As :meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`."""
        ...


class Session(Protocol):
    """One rank's part of a training under way: parameters, optimizer state, buffers.

    All ranks call the same methods in the same order.

    Notes
    -----
    Chapter: data parallelism.
    """

    def step(self, rows: Array, epoch: int, step: int) -> float:
        """Take one step; collective.

        Parameters
        ----------
        rows : array of int, shape (batch,)
            The rows of the GLOBAL batch, the same on every rank.
        epoch, step : int
            Counted from 0; the step within its epoch. With the seed they decide dropout's noise.

        Returns
        -------
        float
            This rank's part of the mean loss of the batch; the parts of all ranks add up to it.
        """
        ...

    def gather(self) -> tuple[Array, State]:
        """Return the parameters and the optimizer's complete state; collective.

        Called at the end of an epoch and for a checkpoint; the training goes on afterwards as if
        it had not been.

        Returns
        -------
        theta : array, shape (n_params,)
            Laid out as the serial run's, the same bits on every rank; not to be changed, and good
            until the next step.
        state : dict
            Of the optimizer, as the serial run's; needed on rank 0 only.
        """
        ...

    def extra(self) -> dict[str, Array]:
        """Return what else a resumed run needs to go on bit by bit; collective.

        Returns
        -------
        dict of str to array
            Complete on rank 0: what belongs to one rank has its number in the name. Empty for
            most strategies. A resumed session finds it in ``job.extra``.
        """
        ...


class Strategy(Protocol):
    """How the ranks work together; a frozen dataclass.

    Notes
    -----
    Chapter: data parallelism.
    """

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> Session:
        """Begin, or go on with, a training on one rank.

        Parameters
        ----------
        comm : Comm
            This rank's communicator.
        job : Job
            The same on every rank; not to be changed. ``job.state`` is None at a fresh start.
        clock : Stopwatch
            Where to book time as "compute", "communication" or "input".
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """A strategy that can tell beforehand what would fail on every rank.

    Notes
    -----
    Chapter: data parallelism.
    """

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Raise ValueError if this can not train `net` on the least or the most of workers.

        Parameters
        ----------
        net : Network
            What is to be trained.
        workers : (int, int)
            The least and the most ranks.
        backend : {"numpy", "torch"}
            What computes the gradients.
        """
        ...
