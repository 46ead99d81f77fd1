"""Sessions of a strategy in threads, step by step: what the loop around them would do, and no more.

The data has 53 rows, a prime: in batches of 10, the last has 3, so on 4 or 8 ranks some have none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from course_lib import fit, mlp
from course_lib.data import batches
from course_lib.parallel.channels import connected
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import run_threads
from course_lib.parallel.strategies import Job

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
NET = mlp([7, 6, 5, 3], hidden="tanh")
NOISY = mlp([7, 6, 5, 3], hidden="tanh", dropout=0.4)
BATCH, STEPS, SEED = 10, 6, 5
SIZES = [1, 2, 3, 4, 8]


class Part(NamedTuple):
    """What a rank has at the end."""

    theta: np.ndarray
    state: dict[str, Any]
    extra: dict[str, np.ndarray]
    losses: list[float]
    session: Any
    bytes: list[int]  # sent in each step


def start(net, dtype=np.float64):
    """Parameters to start with; biases are not zero."""
    return np.random.default_rng(SEED).normal(size=net.n_params).astype(dtype) / 2


def run(strategy, size, optimizer, *, net=NET, first=0, last=3 * STEPS, after=None, **options):
    """Run steps first..last - 1 (6 per epoch); `after` is the rank 0 that ended before `first`."""
    theta = options.pop("theta", start(net))
    look = options.pop("look", lambda session, step: None)
    given = options.pop("rows", None)  # the same rows in every step, instead of batches
    channel = options.pop("channel", "dask")  # over the threads' own; "dask": nothing over it
    options = {"x": X, "y": Y, "batch_size": BATCH, "seed": SEED} | options
    if after is not None:
        theta, options["state"], options["extra"] = after.theta, after.state, after.extra
    per_epoch = -(-len(options["x"]) // options["batch_size"])
    job = Job(net=net, optimizer=optimizer, theta=theta, strategy=strategy, **options)

    def main(comm):
        with connected(comm, channel) as over:
            return train(over)

    def train(comm):
        session, losses, sent = strategy.start(comm, job, Stopwatch()), [], []
        for taken in range(first, last):
            epoch, step = divmod(taken, per_epoch)
            order = batches(len(job.x), job.batch_size, seed=job.seed, epoch=epoch)
            rows = list(order)[step] if given is None else given
            before = comm.counters.bytes
            losses.append(session.step(rows, epoch, step))
            sent.append(comm.counters.bytes - before)
            look(session, taken)
        found, state = session.gather()
        return Part(found.copy(), state, session.extra(), losses, session, sent)

    return run_threads(size, main, timeout=60)


def serial(optimizer, *, net=NET, epochs=3, **options):
    """The same training by the serial fit."""
    options = {"x": X, "y": Y, "batch_size": BATCH, "seed": SEED, "theta": start(net)} | options
    return fit(net, options.pop("theta"), optimizer, epochs=epochs, **options)


def assert_equal(parts, reference, rtol=1e-10):
    """All ranks have the same bits, and they are the reference's up to rounding."""
    assert len({part.theta.tobytes() for part in parts}) == 1
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(parts[0].theta, reference.theta, rtol=0, atol=rtol * scale)
    assert parts[0].theta.dtype == reference.theta.dtype
