"""What a training should take, from a short measurement of the same ranks and the same channel.

A rank computes on its share of a batch, then all add their gradients. Both are timed a few times
beforehand, the addition at other sizes than the gradient's, so that its time comes from a fit of
alpha and beta. What the training takes beyond that is waiting for ranks that are late, and what
the model leaves out. Of the strategies, this is about "sync".

Chapter: where the time goes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_integer
from course_lib.data import Split
from course_lib.network import Network
from course_lib.optimizers import Optimizer
from course_lib.parallel.alpha_beta_fit import fit_alpha_beta
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Comm, run_threads
from course_lib.parallel.local_gradient import shard

if TYPE_CHECKING:
    from distributed import Client

    from course_lib.parallel.result import RankTiming

_REPEATS = 7


class Predicted(NamedTuple):
    """What one rank should take.

    Attributes
    ----------
    compute, communication : float
        Seconds of the whole training.
    """

    compute: float
    communication: float


def predict(
    model: Network,
    data: Split | tuple[Any, Any],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    workers: int = 2,
    client: Client | str | None = None,
    comm: str = "auto",
    theta: Array | None = None,
    timeout: float = 60.0,
) -> list[Predicted]:
    """Predict what each rank of :func:`~course_lib.parallel.train` takes, with these arguments.

    Parameters
    ----------
    model, data, optimizer, epochs, batch_size, workers, client, comm, theta, timeout
        As of ``train`` with arrays as data and the strategy "sync".

    Returns
    -------
    list of Predicted
        By rank; ``result.report(predict=...)`` puts it beside what was measured.

    Raises
    ------
    ParallelError
        If the measurement failed.

    Examples
    --------
    >>> from course_lib import SGD, mlp
    >>> x, y = np.ones((20, 2)), np.zeros(20, int)
    >>> options = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 5, "comm": "inprocess"}
    >>> [rank.compute > 0 for rank in predict(mlp([2, 2]), (x, y), **options)]
    [True, True]

    Notes
    -----
    Chapter: where the time goes.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("workers", workers)):
        check_integer(value, where="predict", name=name, at_least=1)
    x, y = (data.x_train, data.y_train) if isinstance(data, Split) else data
    x, y = model.check_data(x, y, where="predict")
    if theta is None:
        theta = model.init(np.random.default_rng(0))
    n, size = len(x), min(batch_size, len(x))
    x, y = x[:size].astype(theta.dtype, copy=False), y[:size]  # one batch is enough
    arguments = (model, optimizer, theta, x, y)
    if comm == "inprocess":
        found = run_threads(workers, lambda c: _measure(c, *arguments), timeout=timeout)
    else:
        from course_lib.parallel.launch import gang

        found = gang(client, _measure, workers, *arguments, timeout=timeout, comm=comm)
    steps = epochs * math.ceil(n / batch_size)
    ranks = []
    for compute, measured in found:
        added = 0.0
        if workers > 1:
            added = steps * fit_alpha_beta(measured).model.message(theta.nbytes)
        ranks.append(Predicted(epochs * n / size * compute, added))  # the last batch may be short
    return ranks


def _measure(
    comm: Comm, net: Network, optimizer: Optimizer, theta: Array, x: Array, y: Array
) -> tuple[float, list[tuple[float, float]]]:
    """Return the seconds of a step without its addition, and (bytes, seconds) of additions."""
    part = shard(len(x), comm.rank, comm.size)
    own, start, gradient = theta.copy(), comm.buffer(1, theta.dtype), np.empty_like(theta)
    start[:] = 0
    state, workspace = optimizer.init(own), net.workspace(max(1, part.stop - part.start), own.dtype)
    rng = np.random.default_rng(0) if net.has_noise else None
    computing = []
    for _ in range(_REPEATS):
        all_reduce(comm, start)  # ranks that share a machine slow each other: begin together
        begin = time.perf_counter()
        gradient[:] = 0
        if part.stop > part.start:
            net.loss_and_grad(
                own, x[part], y[part],
                denominator=len(x), out=gradient, workspace=workspace, rng=rng,
            )  # fmt: skip
        own, state = optimizer.step(own, gradient, state, out=own)
        computing.append(time.perf_counter() - begin)
    adding = []
    for n in sorted({1, -(-len(theta) // 4), 2 * len(theta)}):
        buffer = comm.buffer(n, theta.dtype)
        buffer[:] = 0
        taken = []
        for _ in range(_REPEATS):
            all_reduce(comm, start)
            begin = time.perf_counter()
            all_reduce(comm, buffer)
            taken.append(time.perf_counter() - begin)
        adding.append((float(buffer.nbytes), median(taken)))
    return median(computing), adding


def beside(timing: Sequence[RankTiming], predicted: Sequence[Predicted]) -> list[str]:
    """Return lines that put what was predicted beside what was measured, in seconds.

    Raises
    ------
    ValueError
        If the numbers of ranks differ.
    """
    if len(timing) != len(predicted):
        raise ValueError(
            f"report: predict= is for {len(predicted)} ranks, but {len(timing)} were run; predict "
            "with the same workers=."
        )
    lines = ["rank  compute: predicted  measured  communication: predicted  measured  (waiting)"]
    lines += [
        f"{rank:4d}  {p.compute:18.3f}  {t.compute:8.3f}  {p.communication:24.3f}  "
        f"{t.communication:8.3f}  {t.waiting:9.3f}"
        for rank, (t, p) in enumerate(zip(timing, predicted, strict=True))
    ]
    return lines
