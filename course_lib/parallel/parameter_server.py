"""An asynchronous parameter server: nobody waits for the slowest, up to a point.

Rank 0 keeps the parameters. Every other rank computes the gradient of its rows, sends it, and gets
back the parameters of the moment: with the gradients of those who were faster, without those of
those who are slower. So gradients are taken where the parameters were some updates ago. How long
ago is bounded: who is too far ahead gets no answer until the slower ones have caught up.

Chapter: asynchronous, local and compressed training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from course_lib.arrays import check_integer
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm
from course_lib.parallel.parameter_server_serve import ServerSession
from course_lib.parallel.parameter_server_work import WorkerSession

if TYPE_CHECKING:
    from course_lib.parallel.job import Job


@dataclass(frozen=True)
class AsyncParameterServer:
    r"""Apply each gradient when it comes; let no rank be more than s steps ahead.

    A worker in step k uses parameters that contain all updates of all steps before k - s. With
    s = 0 all wait for all, and with plain SGD, whatever its schedule, the result is that of the
    synchronous run. With s > 0 it depends on who was when how fast; the ``log`` of the
    :class:`~course_lib.parallel.result.TrainResult` has the order of the updates, from which the
    run can be repeated to the bit.

    Each worker's gradient is an update of its own: of p ranks, p - 1 take part in a batch, so the
    optimizer takes p - 1 steps per batch, each with the rows of one worker divided by those of the
    batch. Plain SGD adds them up; momentum and weight decay act at each of them, and Adam takes
    p - 1 whole steps, for which its learning rate must be lowered. A schedule counts batches.

    Rank 0 only serves (it would answer late if it computed, too), so the rows of a batch go to
    the other ranks; alone, it does everything. The end of an epoch is a barrier.

    Parameters
    ----------
    staleness : int
        s, at least 0.

    Raises
    ------
    ValueError
        If the staleness is below 0.

    References
    ----------
    Dean et al. 2012 (Downpour SGD: without a bound); Ho et al. 2013 (stale synchronous parallel:
    the bound).

    Examples
    --------
    >>> AsyncParameterServer(staleness=2)
    AsyncParameterServer(staleness=2)

    Notes
    -----
    Chapter: asynchronous, local and compressed training.
    """

    staleness: int

    def __post_init__(self) -> None:
        check_integer(self.staleness, where="AsyncParameterServer", name="staleness", at_least=0)

    def start(self, comm: Comm, job: Job, clock: Stopwatch) -> ServerSession | WorkerSession:
        """Begin a training on one rank, see :class:`~course_lib.parallel.strategy.Strategy`."""
        if comm.rank == 0:
            return ServerSession(comm, job, clock, self.staleness)
        return WorkerSession(comm, job, clock)
