"""What a training should take, from a short measurement of the same ranks and the same channel.

The ranks take some steps beforehand: each reads its share of a batch, computes, and adds. The
addition is done at other sizes than the gradient's, so that its time comes from a fit of alpha and
beta. It is timed inside these steps, not one addition after the other: a rank that has computed
finds the others late, the threads of its channel asleep and the processor's memory full of other
things, and a step pays for all that. Of the times the mean is taken, because a training takes the
sum. Of the strategies, this is about "sync".

Chapter: where the time goes.
"""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.arrays import Array, check_instance, check_integer, check_pair, check_theta
from course_lib.data import Split
from course_lib.network import Network
from course_lib.optimizers import Optimizer
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_reduce, shard
from course_lib.parallel.comm import Comm, run_threads
from course_lib.parallel.cost import fit_alpha_beta
from course_lib.parallel.doors import check_client, check_timeout
from course_lib.parallel.strategies import gradient_of
from course_lib.parallel.training.prepare import CHANNELS
from course_lib.parallel.training.result import Predicted
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client

# Rows come from more than one batch, so that reading them is no easier than it will be.
_BATCHES = 16

# Rounds of one step per size: the first ones count for nothing, of the rest at least so many, and
# more as long as there is time.
_WARM_UP, _ROUNDS, _MOST_ROUNDS, _SECONDS = 2, 5, 50, 0.5


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
    TypeError, ValueError
        If an argument is not what it should be.
    ParallelError
        If the measurement failed.

    Examples
    --------
    >>> from course_lib import SGD, mlp
    >>> x, y = np.ones((20, 2)), np.zeros(20, int)
    >>> options = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 5, "comm": "inprocess"}
    >>> [rank.compute > 0 for rank in predict(mlp([2, 2]), (x, y), **options)]
    [True, True]
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("workers", workers)):
        check_integer(value, where="predict", name=name, at_least=1)
    check_instance(model, Network, where="predict", name="model")
    check_instance(optimizer, Optimizer, where="predict", name="optimizer")
    check_client(client, threads=lookup("comm", comm, CHANNELS) == "inprocess", where="predict")
    timeout = check_timeout(timeout, where="predict")
    if isinstance(data, Split):
        data = data.x_train, data.y_train
    x, y = check_pair(data, where="predict", name="data")
    x, y = model.check_data(x, y, where="predict")
    if theta is None:
        theta = model.init(np.random.default_rng(0))
    check_theta(theta, where="predict", finite=True)
    model.unpack(theta)  # raises if its length is wrong
    n, size = len(x), min(batch_size, len(x))
    enough = min(n, _BATCHES * size)
    x, y = x[:enough].astype(theta.dtype, copy=False), y[:enough]
    arguments = (model, optimizer, theta, x, y, size)
    if comm == "inprocess":
        found = run_threads(workers, lambda c: _measure(c, *arguments), timeout=timeout)
    else:
        from course_lib.parallel.launch import gang

        found = gang(client, _measure, workers, *arguments, timeout=timeout, comm=comm)
    steps = epochs * math.ceil(n / batch_size)
    whole = epochs * n / size  # the last batch may be short
    ranks = []
    for seconds, added, share in found:
        each = fit_alpha_beta(added).model.message(theta.nbytes) if workers > 1 else 0.0
        told = Predicted(whole * seconds["compute"], steps * each, share * steps * each)
        ranks.append(told._replace(input=whole * seconds["input"]))
    return ranks


def _measure(
    comm: Comm, net: Network, optimizer: Optimizer, theta: Array, x: Array, y: Array, size: int
) -> tuple[dict[str, float], list[tuple[float, float]], float]:
    """Return a step's seconds by name, (bytes, seconds) of additions, their share of waiting."""
    part = shard(size, comm.rank, comm.size)
    own, gradient = theta.copy(), np.empty_like(theta)
    state, workspace = optimizer.init(own), net.workspace(max(1, part.stop - part.start), own.dtype)
    rng = np.random.default_rng(0)
    order, noise = rng.permutation(len(x)), rng if net.has_noise else None
    batches = cycle([order[i : i + size] for i in range(0, len(x) - size + 1, size)])
    buffers = [comm.buffer(n, theta.dtype) for n in (1, -(-len(theta) // 4), 2 * len(theta))]

    def rounds(count: int) -> tuple[dict[str, float], list[float], float]:
        clock, before, added = Stopwatch(), comm.counters.waiting, [0.0] * len(buffers)
        for _ in range(count):
            for i, buffer in enumerate(buffers):
                gradient_of(
                    net, own, x, y, next(batches), part,
                    out=gradient, rng=noise, clock=clock, workspace=workspace,
                )  # fmt: skip
                clock.lap("compute")
                start = clock.seconds.get("communication", 0.0)
                all_reduce(comm, buffer)
                clock.lap("communication")
                added[i] += (clock.seconds["communication"] - start) / count
                optimizer.step(own, gradient, state, out=own)
                clock.lap("compute")
        steps = count * len(buffers)
        share = (comm.counters.waiting - before) / clock.seconds["communication"]
        each = {name: clock.seconds.get(name, 0.0) / steps for name in ("compute", "input")}
        return each, added, share

    each, added, _ = rounds(_WARM_UP)
    # All ranks must take as many: the mean of what they find affordable.
    seconds = all_reduce(comm, np.array([len(buffers) * sum(each.values()) + sum(added)]))
    affordable = int(_SECONDS * comm.size / float(seconds[0]))
    each, added, share = rounds(min(max(affordable, _ROUNDS), _MOST_ROUNDS))
    return each, [(float(b.nbytes), t) for b, t in zip(buffers, added, strict=True)], share
