"""Where to cut a network into pipeline stages: the slowest stage sets the pace of all.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from course_lib.arrays import check_integer
from course_lib.chain import Chain
from course_lib.dropout import Dropout
from course_lib.layers import Dense


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
    >>> from course_lib.network import mlp
    >>> net = mlp([8, 8, 8, 8, 8])  # Dense at 0, 2, 4, 6, each with 64 weights
    >>> balanced_bounds(net, 2), balanced_bounds(net, 3)
    ((4,), (4, 6))
    >>> balanced_bounds(mlp([100, 8, 8, 8]), 2)  # 800 weights before the cut, 128 after it
    (2,)

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    check_integer(stages, where="balanced_bounds", name="stages", at_least=1)
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


def noise_per_row(net: Chain, n_inputs: int, end: int) -> int:
    """Count the random numbers that dropout draws for each row in the layers before `end`.

    A stage skips those of the stages before it, and so draws what the serial run draws here.

    Parameters
    ----------
    net : Network
        The whole network.
    n_inputs : int
        The number of features.
    end : int
        A layer's number.

    Examples
    --------
    >>> from course_lib.network import mlp
    >>> net = mlp([4, 7, 5, 3], dropout=0.5)  # dropout at 2 and 5, after 7 and 5 units
    >>> [noise_per_row(net, 4, end) for end in (0, 3, 6)]
    [0, 7, 12]
    """
    count, width = 0, n_inputs
    for layer in net.layers[:end]:
        width = layer.width(width)
        count += width if isinstance(layer, Dropout) else 0
    return count
