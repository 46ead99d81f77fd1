"""Which weights of a network each rank holds under tensor parallelism, as plain data.

Chapter: pipeline and tensor parallelism.
"""

from __future__ import annotations

import numpy as np

from course_lib.arrays import Array
from course_lib.chain import Chain
from course_lib.dropout import Dropout
from course_lib.layers import Dense, Layer
from course_lib.parallel.local_gradient import shard
from course_lib.parallel.tensor_parallel_layers import (
    ColumnDense,
    ColumnDropout,
    Operators,
    RowDense,
)


def tensor_plan(chain: Chain) -> list[str]:
    """Say for each layer how it is shared out.

    Dense layers are taken in pairs: the first by ``"columns"``, the second by ``"rows"``; the
    layers between them act on each rank's own ``"units"``. All else is done by every rank in full,
    ``"whole"``: also the last Dense layer when their number is odd. That is often the small one
    with the outputs, and to split it as well would cost one more message round each way.

    Parameters
    ----------
    chain : Chain
        A network, or one stage of it.

    Examples
    --------
    >>> from course_lib.network import mlp
    >>> tensor_plan(mlp([4, 8, 8, 3]))  # Dense, Activate, Dense, Activate, Dense
    ['columns', 'units', 'rows', 'whole', 'whole']

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    dense = [i for i, layer in enumerate(chain.layers) if isinstance(layer, Dense)]
    plan = ["whole"] * len(chain.layers)
    for first, second in zip(dense[0::2], dense[1::2], strict=False):
        plan[first : second + 1] = ["columns", *["units"] * (second - first - 1), "rows"]
    return plan


def tensor_indices(chain: Chain, rank: int, size: int) -> Array:
    """Return where in theta the parameters of a rank lie, in the order in which it holds them.

    ``theta[indices]`` is what a rank starts from, ``theta[indices] = part`` puts it back.

    Parameters
    ----------
    chain : Chain
        A network, or one stage of it.
    rank, size : int
        Which rank, of how many.

    Returns
    -------
    array of int, shape (n,)

    Raises
    ------
    ValueError
        If a layer that is to be split has fewer units than there are ranks.

    Examples
    --------
    >>> chain = Chain((Dense(1, 3), Dense(3, 1)))  # W 0 1 2, b 3 4 5; W 6 7 8, b 9
    >>> tensor_indices(chain, 0, 2), tensor_indices(chain, 1, 2)
    (array([0, 1, 3, 4, 6, 7, 9]), array([2, 5, 8, 9]))

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    tree = chain.unpack(np.arange(chain.n_params))
    for i, (how, layer, p) in enumerate(zip(tensor_plan(chain), chain.layers, tree, strict=True)):
        if isinstance(layer, Dense) and how == "columns":
            columns = _units(layer.fan_out, rank, size, i)
            tree[i] = {"W": p["W"][:, columns], "b": p["b"][columns]}
        elif isinstance(layer, Dense) and how == "rows":
            tree[i] = {"W": p["W"][_units(layer.fan_in, rank, size, i)], "b": p["b"]}
    return chain.pack(tree).astype(np.intp, copy=False)


def tensor_chain(chain: Chain, operators: Operators) -> Chain:
    """Return the layers of this rank, which compute on their share of the weights.

    Parameters
    ----------
    chain : Chain
        A network, or one stage of it.
    operators : Operators
        How the ranks add.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> chain = Chain((Dense(1, 3), Dense(3, 1)))
    >>> theta = np.arange(10.0)
    >>> def forward(comm):
    ...     part = theta[tensor_indices(chain, comm.rank, comm.size)]
    ...     return tensor_chain(chain, Operators(comm)).forward(part, np.ones((1, 1)))[0].item()
    >>> run_threads(2, forward), chain.forward(theta, np.ones((1, 1)))[0].item()
    ([118.0, 118.0], 118.0)

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    rank, size = operators.comm.rank, operators.comm.size
    layers: list[Layer] = []
    columns, total = slice(0), 0
    for i, (how, layer) in enumerate(zip(tensor_plan(chain), chain.layers, strict=True)):
        if isinstance(layer, Dense) and how == "columns":
            columns, total = _units(layer.fan_out, rank, size, i), layer.fan_out
            here = columns.stop - columns.start
            layers.append(ColumnDense(layer.fan_in, here, layer.weights, operators=operators))
        elif isinstance(layer, Dense) and how == "rows":
            here = columns.stop - columns.start
            layers.append(RowDense(here, layer.fan_out, layer.weights, operators=operators))
        elif isinstance(layer, Dropout) and how == "units":
            layers.append(ColumnDropout(layer.rate, total, columns))
        else:
            layers.append(layer)
    return Chain(tuple(layers))


def _units(width: int, rank: int, size: int, layer: int) -> slice:
    if width < size:
        raise ValueError(
            f"tensor parallelism: layer {layer} has {width} hidden units to be shared out, fewer "
            f"than the {size} ranks; use fewer ranks for it or wider layers."
        )
    return shard(width, rank, size)
