"""A job is a training run, complete: what is sent to each worker once.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from course_lib.arrays import Array
from course_lib.network import Network
from course_lib.optimizers import Optimizer, State
from course_lib.parallel.progress import Progress
from course_lib.parallel.recovery_point import Saving
from course_lib.parallel.strategy import Model, Strategy
from course_lib.training import History

BACKENDS = ("numpy", "torch")
"""What a model is computed with, by the name of the backend."""


@dataclass(frozen=True)
class Job:
    """What every rank of a training knows; shared, and so not to be changed.

    Attributes
    ----------
    net : Network
        What is trained.
    optimizer : Optimizer
        How to step.
    theta : array, shape (n_params,)
        Where to start, or go on.
    x, y : array
        The training data.
    batch_size : int
        Rows per step over all ranks together.
    strategy : Strategy
        How the ranks work together.
    epochs : int
        Passes over the data, counted from the very beginning.
    seed : int
        Of the order of rows and of dropout's noise.
    backend : str
        What computes the gradients, of :data:`BACKENDS`.
    validation : (x, y) or None
        Held-out data.
    stop : callable or None
        Says, of a history, whether to stop.
    report : bool
        Whether anybody listens to rank 0.
    state : dict or None
        The optimizer's state to go on from; None at a fresh start.
    extra : dict of str to array
        What the strategy remembered, see :meth:`Session.extra
        <course_lib.parallel.strategy.Session.extra>`.
    progress : Progress
        Where to go on.
    saving : Saving or None
        Where and how often to save.
    config : dict of str to str
        What decides the training, in words, for the checkpoints.
    virtual_shards : int or None
        In how many pieces sums over validation rows are cut; None for one per rank.
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
    backend: str = "numpy"
    validation: tuple[Array, Array] | None = None
    stop: Callable[[History], bool] | None = None
    report: bool = False
    state: State | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    saving: Saving | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    virtual_shards: int | None = None

    def model(self, rows: int) -> tuple[Model, dict[str, Any]]:
        """Return what computes gradients of at most `rows` rows, and the options it wants.

        Use as ``model.loss_and_grad(theta, x, y, denominator=n, out=gradient, **options)``.
        """
        if self.backend == "torch":
            from course_lib.parallel.torch_backend import TorchModel

            return TorchModel(self.net), {}
        return self.net, {"workspace": self.net.workspace(rows, self.theta.dtype)}
