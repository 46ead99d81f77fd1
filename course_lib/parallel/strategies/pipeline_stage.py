"""One stage of a pipeline at work, and where to cut a network into stages.

A stage runs its row of the schedule, action after action. Forward, it receives activations from
the stage before and sends its own on; backward, it receives the gradient of what it sent and sends
the gradient of what it received. Between the two it keeps the activations of a micro-batch. The
slowest stage sets the pace of all, so :func:`balanced_bounds` makes the largest one small.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from course_lib.arrays import Array, check_instance, check_integer
from course_lib.chain import Chain
from course_lib.layers import Dense, Dropout, Noise
from course_lib.losses import Loss
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.comm import Comm
from course_lib.parallel.schedules import Action
from course_lib.workspace import Workspace


class Stage:
    """The layers of one stage, the rank in `comm`; no micro-batch has more than `rows` rows."""

    def __init__(
        self,
        chain: Chain,
        loss: Loss,
        comm: Comm,
        *,
        theta: Array,
        gradient: Array,
        rows: int,
        clock: Stopwatch,
    ) -> None:
        self._chain, self._loss, self._comm, self._clock = chain, loss, comm, clock
        self._gradient, self._extra = gradient, np.empty_like(gradient)
        self._params = chain.unpack(theta)
        self._grads, self._extras = chain.unpack(gradient), chain.unpack(self._extra)
        self._first, self._last = comm.rank == 0, comm.rank == comm.size - 1
        # Nobody wants the gradient of the data: the first stage stops at its first parameters.
        self._stop = chain.first_with_parameters if self._first else None
        self._rows, self._dtype = rows, theta.dtype
        self._free: list[Workspace] = []
        self._kept: dict[int, _Kept] = {}
        self.most_in_flight = 0  # the most micro-batches whose activations were kept at a time

    @property
    def in_flight(self) -> int:
        """How many micro-batches are between their forward and their backward pass."""
        return len(self._kept)

    def run(self, actions: Sequence[Action], batch: MicroBatches) -> float:
        """Do this stage's row of a schedule; return the loss in the last stage, else 0."""
        self._gradient[:] = 0.0
        total = 0.0
        for action in actions:
            if action.kind == "F":
                total += self._forward(action.micro, batch)
            else:
                self._backward(action.micro)
        return total / batch.denominator

    def _forward(self, micro: int, batch: MicroBatches) -> float:
        if self._first:
            x = self._read(batch.x, micro)
        else:
            x = self._receive(self._comm.rank - 1, "activation")
        workspace = self._free.pop() if self._free else self._workspace()
        outputs, caches = self._chain.propagate(
            self._params, x, rng=batch.noise(micro), workspace=workspace
        )
        loss, dy = 0.0, None
        if self._last:
            out = workspace.output(outputs.shape, outputs.dtype)
            targets, weights = self._read(batch.y, micro), batch.weights(micro)
            if weights is None:
                loss, dy = self._loss.f(outputs, targets, out=out)
            else:
                loss, dy = self._loss.weighted(outputs, targets, weights, out=out)
            dy /= batch.denominator
        else:
            self._send(self._comm.rank + 1, "activation", outputs)
        self._kept[micro] = _Kept(workspace, caches, dy)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return loss

    def _backward(self, micro: int) -> None:
        workspace, caches, dy = self._kept.pop(micro)
        if dy is None:
            dy = self._receive(self._comm.rank + 1, "gradient")
        grads = self._extras if micro else self._grads
        dx = self._chain.backpropagate(
            self._params, caches, dy, grads, workspace=workspace, stop=self._stop
        )
        if micro:
            self._gradient += self._extra
        if not self._first:
            self._send(self._comm.rank - 1, "gradient", dx)
        self._free.append(workspace)

    def _workspace(self) -> Workspace:
        return Workspace(self._chain.unpack, len(self._chain.layers), self._rows, self._dtype)

    def _read(self, source: Callable[[int], Array], micro: int) -> Array:
        self._clock.lap("compute")
        rows = source(micro)
        self._clock.lap("input")
        return rows

    def _send(self, stage: int, what: str, array: Array) -> None:
        self._clock.lap("compute")
        self._comm.send(stage, what, array)
        self._clock.lap("communication")

    def _receive(self, stage: int, what: str) -> Array:
        self._clock.lap("compute")
        array = self._comm.recv(stage, what)
        self._clock.lap("communication")
        return array


@dataclass(frozen=True)
class MicroBatches:
    """A batch, cut into the pieces that flow through the pipeline, by their numbers."""

    x: Callable[[int], Array]  # called in the first stage only
    y: Callable[[int], Array]  # in the last
    noise: Callable[[int], Noise | None]  # for dropout in this stage
    weights: Callable[[int], Array | None]  # in the last
    denominator: float  # the rows of the GLOBAL batch, or the sum of their weights


class _Kept(NamedTuple):
    """What a micro-batch leaves between its forward and its backward pass."""

    workspace: Workspace
    caches: list[Any]
    dy: Array | None


def noise_per_row(net: Chain, n_inputs: int, end: int) -> int:
    """Count the random numbers that dropout draws for each row in the layers before `end`.

    A stage skips those of the stages before it, and so draws what the serial run draws here.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([4, 7, 5, 3], dropout=0.5)  # dropout at 2 and 5, after 7 and 5 units
    >>> [noise_per_row(net, 4, end) for end in (0, 3, 6)]
    [0, 7, 12]
    """
    before = zip(net.layers[:end], net.widths(n_inputs), strict=False)
    return sum(width for layer, width in before if isinstance(layer, Dropout))


def balanced_bounds(net: Chain, stages: int, *, together: int = 1) -> tuple[int, ...]:
    r"""Return the layers before which to cut, so that the largest stage is as small as can be.

    .. math:: \min_{\text{cuts}} \max_s \sum_{l \in s} \mathrm{fan\_in}_l\, \mathrm{fan\_out}_l

    A Dense layer costs its number of weights: two operations per weight and row forward, four
    backward. What follows a Dense layer (activation, dropout) stays with it.

    Parameters
    ----------
    net : Network
        What to cut.
    stages : int
        The number of stages.
    together : int
        How many neighbouring Dense layers must not be separated: 2 for tensor parallelism, which
        splits them in pairs.

    Returns
    -------
    tuple of int, length stages - 1
        For :meth:`Network.split <course_lib.network.Network.split>`. Of several best cuts, the one
        that fills the first stages first.

    Raises
    ------
    ValueError
        If there are more stages than Dense layers, or than groups of them.

    Examples
    --------
    >>> from course_lib import mlp
    >>> net = mlp([8, 8, 8, 8, 8])  # Dense at 0, 2, 4, 6, each with 64 weights
    >>> balanced_bounds(net, 2), balanced_bounds(net, 3)
    ((4,), (4, 6))
    >>> balanced_bounds(mlp([100, 8, 8, 8]), 2)  # 800 weights before the cut, 128 after it
    (2,)
    """
    check_instance(net, Chain, where="balanced_bounds", name="net")
    check_integer(stages, where="balanced_bounds", name="stages", at_least=1)
    check_integer(together, where="balanced_bounds", name="together", at_least=1)
    dense = [(i, layer) for i, layer in enumerate(net.layers) if isinstance(layer, Dense)]
    groups = [dense[i : i + together] for i in range(0, len(dense), together)]
    if stages > max(1, len(groups)):
        kind = "Dense layers" if together == 1 else f"groups of {together} Dense layers"
        raise ValueError(
            f"a pipeline of {stages} stages needs a network with at least as many {kind}, this "
            f"one has {len(groups)}; use fewer stages or a deeper network."
        )
    costs = [sum(layer.fan_in * layer.fan_out for _, layer in group) for group in groups]
    limits = range(max(costs, default=0), sum(costs) + 1)
    smallest = bisect_left(limits, True, key=lambda limit: len(_fill(costs, limit)) < stages)
    starts = _fill(costs, limits[smallest])
    # Fewer stages may do with this limit; the rest of the cuts go where nothing was cut yet.
    spare = (i for i in reversed(range(1, len(groups))) if i not in starts)
    while len(starts) < stages - 1:
        starts.append(next(spare))
    return tuple(groups[i][0][0] for i in sorted(starts))


def _fill(costs: Sequence[int], limit: int) -> list[int]:
    """Fill one stage after the other up to the limit; return where the second, third, ... begin."""
    starts, load = [], 0
    for i, cost in enumerate(costs):
        if load + cost > limit:
            starts.append(i)
            load = 0
        load += cost
    return starts
