"""What every rank executes: the epochs of a training, as in the serial run, on its own replica.

Whatever decides how the training goes on (the history, stopping early) is reduced first, so that
every rank decides the same.

Chapter: data parallelism.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from copy import deepcopy
from itertools import islice

import numpy as np

from course_lib.arrays import Array
from course_lib.checkpoint import prepare
from course_lib.early_stopping import best_epoch
from course_lib.evaluation import Epoch, measure, score, score_names
from course_lib.optimizers import State
from course_lib.parallel.clock import Stopwatch, stored_within
from course_lib.parallel.collectives import (
    all_agree,
    all_reduce,
    broadcast_object,
    shard,
    tree_sum,
)
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.sources import order_of
from course_lib.parallel.strategies import Job, Progress, gather_by_rank
from course_lib.parallel.training.recovery import save_point
from course_lib.parallel.training.result import RankResult
from course_lib.training import check_finite


def epoch_row(
    comm: Comm, job: Job, theta: Array, total: float, clock: Stopwatch
) -> dict[str, float]:
    """Return the numbers of the epoch that has ended; `total` is this rank's loss, summed."""
    names = ["loss"]
    if job.validation is not None:
        x, _ = job.validation
        # All ranks need the same names, also a rank without rows.
        names += [f"val_{name}" for name in score_names(job.net.loss)]
    # Pieces of the validation data that do not depend on the number of ranks have a line of numbers
    # each: it is filled by one rank, to which the others add only zeros, and the lines are summed
    # by all alike.
    fixed = job.strategy.pieces
    pieces = fixed or comm.size
    table = np.zeros((fixed or 1, len(names)))
    table[0, 0] = total / (len(job.x) if job.weights is None else job.weights.sum())
    answers: list[Array] = []
    for index in range(pieces)[shard(pieces, comm.rank, comm.size)]:
        if job.validation is not None:
            line = table[index if fixed else 0, 1:]
            answers.append(_piece(job, theta, shard(len(x), index, pieces), out=line))
    clock.lap("evaluation")
    all_reduce(comm, table)
    clock.lap("communication")
    found = dict(zip(names, tree_sum(list(table)).tolist(), strict=True))
    return found | _of_all_rows(comm, job, theta, answers, clock)


def _piece(job: Job, theta: Array, part: slice, *, out: Array) -> Array:
    """Return the outputs for some rows, and write what they contribute to the means to `out`."""
    assert job.validation is not None
    x, y = job.validation
    outputs = job.net.forward(theta, x[part])[0]
    if len(outputs):
        scores = score(job.net.loss, outputs, y[part])
        out[:] = [value * len(outputs) / len(x) for value in scores.values()]
    return outputs


def _of_all_rows(
    comm: Comm, job: Job, theta: Array, answers: list[Array], clock: Stopwatch
) -> dict[str, float]:
    """Return what rank 0 measures on the outputs for all held-out rows, on every rank."""
    if job.validation is None or not job.set_metrics:
        return {}
    nothing = np.empty((0, job.net.widths(job.x.shape[1])[-1]), theta.dtype)
    outputs = gather_by_rank(comm, "outputs", np.concatenate([nothing, *answers]))
    clock.lap("communication")
    found: dict[str, float] = {}
    if comm.rank == 0:  # the ranks' pieces lie in the order of the rows
        whole = np.concatenate(list(outputs.values()))
        found = measure(job.set_metrics, whole, job.validation[1][:], where="train")
    clock.lap("evaluation")
    found = broadcast_object(comm, found if comm.rank == 0 else None)
    clock.lap("communication")
    return {f"val_{name}": value for name, value in found.items()}


# Seconds between two signs of life within an epoch.
_PULSE = 0.5


def train_replica(comm: Comm, job: Job) -> RankResult:
    """Run all epochs, or those that are left, on one rank."""
    return _Replica(comm, job).run()


class _Replica:
    def __init__(self, comm: Comm, job: Job) -> None:
        self.comm, self.job, self.clock = comm, job, Stopwatch()
        before = len(job.progress.losses)
        if job.extra and before != comm.size and not job.strategy.elastic:
            raise CheckpointMismatch(
                f"the checkpoint was written by {before} ranks, and the strategy {job.strategy} "
                f"remembers something for each; resume it with as many, not with {comm.size}."
            )
        self.history = deepcopy(job.progress.history)
        self.total = job.progress.loss(comm.rank, comm.size)  # of the epoch under way, over rows
        self.best = job.best
        self.session = job.strategy.start(comm, job, self.clock)
        comm.step = job.progress.taken - 1
        self.told = time.monotonic()
        self.clock.lap("setup")

    def run(self) -> RankResult:
        job, start = self.job, self.job.progress
        found = None
        # A run that had ended, or would have stopped, has nothing left to do.
        ended = start.step == 0 and self.stops()
        epochs = range(start.epoch, start.epoch if ended else job.epochs)
        if epochs and job.saving is not None and self.comm.rank == 0:
            prepare(job.saving.directory)
        for epoch in epochs:
            self.steps(epoch, start.step if epoch == start.epoch else 0)
            found = self.session.gather()
            self.clock.lap("communication")
            self.record(*found)
            self.call_back(epoch, *found)
            self.tell(epoch, "metric", {name: row[-1] for name, row in self.history.items()})
            self.total, stops = 0.0, self.stops()
            self.clock.lap("evaluation")
            if job.saving is not None and (
                stops or epoch + 1 == job.epochs or job.saving.due(self.taken, epoch_ends=True)
            ):
                self.save(epoch + 1, 0, found)
            if stops:
                break
        theta, state = self.session.gather() if found is None else found
        self.clock.lap("evaluation")
        digest = hashlib.sha256(theta.tobytes()).hexdigest()
        if self.best is not None and job.keep_best is not None:
            theta, state = self.best
        if self.comm.rank > 0:
            theta, state = theta[:0].copy(), {}
        log = tuple(getattr(self.session, "log", ()))
        spent, sent = self.clock.seconds, self.comm.counters
        return RankResult(theta, state, self.history, digest, spent, sent, log)

    @property
    def taken(self) -> int:
        """Steps taken since the beginning of the training."""
        assert self.comm.step is not None
        return self.comm.step + 1

    def steps(self, epoch: int, first: int) -> None:
        """Take the steps of an epoch, from the given one on; save where it is due."""
        job, n = self.job, len(self.job.x)
        last = math.ceil(n / job.batch_size) - 1
        order = order_of(job.x, job.batch_size, seed=job.seed, epoch=epoch, shuffle=job.shuffle)
        for step, rows in islice(enumerate(order), first, None):
            self.clock.lap("input")
            self.comm.step = self.taken
            self.comm.check()  # a rank that is alone would never hear that it should stop
            with np.errstate(over="ignore", invalid="ignore"):  # check_finite speaks more clearly
                loss = self.session.step(rows, epoch, step)
            check_finite(loss, epoch, step)
            self.total += loss * job.weight(rows)
            if time.monotonic() > self.told + _PULSE:
                self.tell(epoch, "progress")
            if job.saving is not None and step < last and job.saving.due(self.taken):
                self.save(epoch, step + 1, self.session.gather())
            self.clock.lap("compute")

    def record(self, theta: Array, state: State) -> None:
        """Append one epoch to the history; if it is the best so far, rank 0 keeps what it gave."""
        row = epoch_row(self.comm, self.job, theta, self.total, self.clock)
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        metric, epochs = self.job.keep_best, len(self.history["loss"])
        if metric is not None and self.comm.rank == 0:
            better = self.job.better
            if best_epoch(self.history, metric, better=better, where="train") == epochs - 1:
                self.best = theta.copy(), deepcopy(state)

    def call_back(self, epoch: int, theta: Array, state: State) -> None:
        """Call what rank 0 is to call; it may keep what it is given, and change it."""
        if self.comm.rank == 0:
            for callback in self.job.callbacks:
                callback(Epoch(epoch, theta.copy(), deepcopy(state), deepcopy(self.history)))

    def stops(self) -> bool:
        """Decide, all ranks together, whether the history says to stop."""
        stop, history = self.job.stop, self.history
        return bool(history) and stop is not None and all_agree(self.comm, stop(history))

    def save(self, epoch: int, step: int, found: tuple[Array, State]) -> None:
        """Write a checkpoint, from which the given step comes next."""
        comm, job, saving = self.comm, self.job, self.job.saving
        extra = self.session.extra()
        losses = np.zeros(comm.size)
        losses[comm.rank] = self.total
        all_reduce(comm, losses)  # adds only zeros: the parts keep their bits
        self.clock.lap("communication")
        comm.check()  # another attempt may be writing by now
        if comm.rank == 0 and saving is not None:
            if not np.isfinite(found[0]).all():  # saved, they would come back at each restart
                raise FloatingPointError(
                    f"the parameters are not finite after {self.taken} steps: the training has "
                    "diverged; lower the learning rate. The checkpoint before is left as it is."
                )
            here = Progress(epoch, step, self.taken, losses.tolist(), self.history)
            path = stored_within(
                comm.timeout, f"writing a checkpoint to {saving.directory}",
                lambda: save_point(saving, job.config, *found, extra, here, self.best),
            )  # fmt: skip
            self.tell(epoch, "checkpoint", message=str(path))
        self.clock.lap("checkpoint")

    def tell(
        self, epoch: int, kind: str, metrics: Mapping[str, float] | None = None, message: str = ""
    ) -> None:
        """Report an event to the driver, see :class:`~course_lib.parallel.Event`."""
        self.told = time.monotonic()
        if self.job.report and self.comm.rank == 0:
            event = {"epoch": epoch, "metrics": dict(metrics or {}), "kind": kind}
            self.comm.report({**event, "step": self.taken, "message": message})
