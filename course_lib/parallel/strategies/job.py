"""What every strategy is written against: the job, and one rank's session of it.

A strategy is how the ranks share the work of a step; the loop around the steps is the same. It
describes, as a frozen dataclass whose ``repr`` documents the experiment. What changes while a
training runs (parameters, the optimizer's state, buffers) lives in a session, which each rank
starts for itself from the job: a training run, complete, as it is sent to each worker once.

Chapter: data parallelism.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from course_lib.arrays import Array
from course_lib.clipping import clip_gradient
from course_lib.data import batch_weight
from course_lib.evaluation import Epoch, History, SetMetric
from course_lib.layers import noise
from course_lib.network import Network
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm

BACKENDS = ("numpy", "torch")
"""What a model is computed with, by the name of the backend."""


class Strategy(ABC):
    """How the ranks work together; derive a frozen dataclass from it, with a `start` of its own.

    Examples
    --------
    >>> from course_lib.parallel.strategies import SyncSGD
    >>> @dataclass(frozen=True)
    ... class Loud(Strategy):
    ...     def start(self, comm, job, clock):
    ...         print(f"rank {comm.rank} of {comm.size} starts")
    ...         return SyncSGD().start(comm, job, clock)
    >>> from course_lib import SGD, mlp
    >>> from course_lib.parallel import train
    >>> options = {"optimizer": SGD(0.1), "epochs": 1, "batch_size": 2, "comm": "inprocess"}
    >>> data = np.eye(2), np.array([0, 1])
    >>> train(mlp([2, 2]), data, strategy=Loud(), workers=1, **options).replicas_identical
    rank 0 of 1 starts
    True
    """

    @abstractmethod
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

    def check(self, net: Network, *, workers: tuple[int, int], backend: str) -> None:
        """Say beforehand, on the driver, what would fail on every rank; by default, nothing.

        Parameters
        ----------
        net, backend : Network, {"numpy", "torch"}
            What is to be trained, and what computes the gradients.
        workers : (int, int)
            The least and the most ranks.

        Raises
        ------
        ValueError
            If this can not train `net` with the least or the most of workers.
        """
        return

    @property
    def elastic(self) -> bool:
        """Whether another number of ranks can go on from a checkpoint, so that workers may come.

        False, unless a class says ``elastic = True``. Its sessions must then make sense of
        ``job.extra`` that more or fewer ranks have left.
        """
        return False

    @property
    def clips(self) -> bool:
        """Whether its sessions scale a gradient whose norm is above ``job.clip``.

        False, unless a class says ``clips = True``; sessions that derive from
        :class:`Replicated` and ``_descend`` do.
        """
        return False

    @property
    def weighs(self) -> bool:
        """Whether its sessions heed the weights of rows, ``job.weights``.

        False, unless a class says ``weighs = True``; :class:`LocalGradient` heeds them.
        """
        return False

    @property
    def pieces(self) -> int | None:
        """In how many pieces sums over rows are cut, whatever the ranks; None: one per rank."""
        return None


class Session(Protocol):
    """One rank's part of a training under way: parameters, optimizer state, buffers.

    All ranks call the same methods in the same order.
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
            Complete on rank 0: what belongs to one rank has its number in the name. Empty unless
            a session has its own. A resumed session finds it in ``job.extra``.
        """
        return {}


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


@dataclass(frozen=True)
class Saving:
    """Where and how often rank 0 saves.

    Attributes
    ----------
    directory : str
        One per run; rank 0 and the driver must both see it.
    every : int or None
        Steps from one checkpoint to the next; None for one at the end of each epoch.
    keep : int
        How many are left.
    """

    directory: str
    every: int | None = None
    keep: int = 3

    def due(self, taken: int, *, epoch_ends: bool = False) -> bool:
        """Say whether a checkpoint is due after so many steps.

        Examples
        --------
        >>> Saving("run", every=10).due(20), Saving("run").due(20)
        (True, False)
        >>> Saving("run", every=10).due(24, epoch_ends=True)
        False
        """
        return epoch_ends if self.every is None else taken % self.every == 0


@dataclass(frozen=True)
class Job:
    """What every rank of a training knows; shared, and so not to be changed.

    Attributes
    ----------
    net, optimizer, theta : Network, Optimizer, array of shape (n_params,)
        What is trained, how to step, and where to start or go on.
    x, y, validation : array, array, (x, y) or None
        The training data and those held out.
    batch_size : int
        Rows per step over all ranks together.
    strategy, backend : Strategy, str
        How the ranks work together, and what computes the gradients, of :data:`BACKENDS`.
    epochs : int
        Passes over the data, counted from the very beginning.
    seed, shuffle : int, bool
        Of the order of rows and of dropout's noise; whether each epoch has an order of its own.
    stop : callable or None
        Says, of a history, whether to stop.
    weights : array of float64, shape (n,), or None
        How much each row counts; None if each counts as one.
    clip : float or None
        The largest norm of a gradient; None for any.
    set_metrics : dict of str to callable
        What rank 0 measures on the outputs for all held-out rows.
    keep_best, better : str or None
        The metric that says which epoch's parameters to return, None for those of the last; and
        which of its values are better, None for what its name says.
    callbacks : sequence of callables
        What rank 0 calls with what an epoch has left.
    best : (theta, state) or None
        Of the best epoch before, on rank 0.
    report : bool
        Whether anybody listens to rank 0.
    state : dict or None
        The optimizer's state to go on from; None at a fresh start.
    extra : dict of str to array
        What the session's own ``extra()`` returned.
    progress, saving : Progress, Saving or None
        Where to go on; where and how often to save.
    config : dict of str to str
        What decides the training, in words, for the checkpoints.
    """

    net: Network
    optimizer: Optimizer
    theta: Array
    x: Array
    y: Array
    batch_size: int
    strategy: Strategy
    epochs: int = 1
    seed: int = 0
    shuffle: bool = True
    backend: str = "numpy"
    validation: tuple[Array, Array] | None = None
    stop: Callable[[History], bool] | None = None
    weights: Array | None = None
    clip: float | None = None
    set_metrics: Mapping[str, SetMetric] = field(default_factory=dict)
    keep_best: str | None = None
    better: str | None = None
    callbacks: Sequence[Callable[[Epoch], None]] = ()
    best: tuple[Array, State] | None = None
    report: bool = False
    state: State | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    saving: Saving | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    def model(self, rows: int) -> tuple[Model, dict[str, Any]]:
        """Return what computes gradients of at most `rows` rows, and the options it wants.

        Use as ``model.loss_and_grad(theta, x, y, denominator=n, out=gradient, **options)``.
        """
        if self.backend == "torch":
            from course_lib.parallel.strategies.torch_backend import TorchModel

            return TorchModel(self.net), {}
        return self.net, {"workspace": self.net.workspace(rows, self.theta.dtype)}

    def weights_of(self, rows: Array) -> Array | None:
        """Return the weights of some rows, if rows have any."""
        return None if self.weights is None else self.weights[rows]

    def weight(self, rows: Array) -> float:
        """Return how much a batch counts: its rows, or the sum of their weights."""
        return batch_weight(rows, self.weights)

    def noise(self, epoch: int, step: int) -> np.random.Generator | None:
        """Return what draws the serial run's noise for a step; None if there is no dropout."""
        return noise(self.seed, epoch, step) if self.net.has_noise else None


class Model(Protocol):
    """What computes gradients: a Network, or its twin in another library."""

    @property
    def loss_and_grad(self) -> Callable[..., tuple[float, Array]]:
        """As :meth:`Network.loss_and_grad <course_lib.network.Network.loss_and_grad>`."""
        ...


class Replicated(Session):
    """A session in which every rank has theta and the optimizer's whole state."""

    def __init__(self, job: Job) -> None:
        self._optimizer, self._theta = job.optimizer, job.theta.copy()
        self._clip = job.clip
        self._state: State = (
            job.optimizer.init(self._theta) if job.state is None else deepcopy(job.state)
        )

    def gather(self) -> tuple[Array, State]:
        """Return theta and the state: every rank has all of both, so nothing is sent."""
        return self._theta, self._state

    def _descend(self, gradient: Array) -> None:
        """Take the optimizer's step, in place, by the gradient or, if that is too long, less."""
        clip_gradient(gradient, self._clip)
        self._theta, self._state = self._optimizer.step(
            self._theta, gradient, self._state, out=self._theta
        )


def gather_by_rank(comm: Comm, name: str, array: Array) -> dict[str, Array]:
    """Return ``{"name.0": array of rank 0, "name.1": ...}`` on rank 0, elsewhere {}; collective.

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: gather_by_rank(comm, "a", np.array([comm.rank])))
    [{'a.0': array([0]), 'a.1': array([1])}, {}]
    """
    if comm.rank > 0:
        comm.send(0, "gather_by_rank", array)
        return {}
    arrays = [array.copy(), *(comm.recv(r, "gather_by_rank") for r in range(1, comm.size))]
    return {f"{name}.{rank}": array for rank, array in enumerate(arrays)}


def arrays_by_rank(extra: Mapping[str, Array], name: str) -> list[Array]:
    """Return the arrays of :func:`gather_by_rank`, by rank; none if there is no such name.

    Examples
    --------
    >>> arrays_by_rank({"a.0": 5, "a.1": 7, "b.0": 9}, "a")
    [5, 7]
    """
    arrays: list[Array] = []
    while (key := f"{name}.{len(arrays)}") in extra:
        arrays.append(extra[key])
    return arrays
