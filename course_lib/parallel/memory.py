"""What a rank must hold in memory, when the ranks share out what each would hold in full.

Chapter: sharded optimizers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from course_lib.arrays import check_integer


class Memory(NamedTuple):
    """Bytes that a rank needs between steps."""

    parameters: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def zero_memory(
    n_params: int,
    p: int,
    stage: int,
    *,
    dtype: DTypeLike | None = np.float64,
    optimizer_vectors: int = 2,
) -> Memory:
    r"""Return the bytes per rank when ranks share out what all of them would hold in full.

    With :math:`\Psi` parameters, mixed precision and Adam, :math:`K = 12`:

    ===== ================= ========================================
    stage cut in p parts    bytes per rank
    ===== ================= ========================================
    0     nothing           :math:`(2 + 2 + K)\, \Psi`
    1     optimizer state   :math:`2 \Psi + 2 \Psi + K \Psi / p`
    2     and gradients     :math:`2 \Psi + (2 + K)\, \Psi / p`
    3     and parameters    :math:`(2 + 2 + K)\, \Psi / p`
    ===== ================= ========================================

    Activations and buffers are not in it. A part is :math:`\lceil \Psi / p \rceil` numbers.

    Parameters
    ----------
    n_params : int
        :math:`\Psi`.
    p : int
        The number of ranks.
    stage : {0, 1, 2, 3}
        The stage of ZeRO; 0 is plain data parallelism.
    dtype : floating-point type or None
        Of parameters, gradients and optimizer state alike, as in this package. None: mixed
        precision as in the paper, 2 + 2 bytes, and 4 bytes for each vector of the optimizer, with
        the float32 copy of the parameters as one more.
    optimizer_vectors : int
        Vectors that the optimizer remembers: 2 for Adam, 1 for momentum, 0 for plain SGD.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Rajbhandari et al. 2020 (ZeRO), section 3.1 and figure 1.

    Examples
    --------
    >>> [zero_memory(7_500_000_000, 64, stage, dtype=None).total / 1e9 for stage in range(4)]
    [120.0, 31.40625, 16.640625, 1.875]
    >>> zero_memory(1000, 4, stage=1)
    Memory(parameters=8000, gradients=8000, optimizer=4000)

    Notes
    -----
    Chapter: sharded optimizers.
    """
    where = "zero_memory"
    n = check_integer(n_params, where=where, name="n_params", at_least=1)
    check_integer(p, where=where, name="p", at_least=1)
    vectors = check_integer(optimizer_vectors, where=where, name="optimizer_vectors", at_least=0)
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"{where}: stage must be 0, 1, 2 or 3, got {stage!r}.")
    size = 2 if dtype is None else np.dtype(dtype).itemsize
    kept = 4 * (vectors + 1) if dtype is None else size * vectors
    part = -(-n // p)
    parameters, gradients, state = (part if stage >= from_ else n for from_ in (3, 2, 1))
    return Memory(size * parameters, size * gradients, kept * state)
