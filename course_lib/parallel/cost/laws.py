"""Laws of a line each: of speed-up, of memory, of a pipeline's bubble, of when to save.

Times are seconds, memory is bytes, p is the number of ranks.

Chapter: where the time goes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from course_lib.arrays import check_dtype, check_integer, check_number


def amdahl(serial_fraction: float, p: int) -> float:
    r"""Return the speed-up of a fixed amount of work, of which a part cannot be shared.

    .. math:: S(p) = \frac{1}{s + (1 - s) / p} < \frac{1}{s}

    Parameters
    ----------
    serial_fraction : float
        :math:`s`: the SERIAL share of the time on ONE rank, between 0 and 1.
    p : int
        The number of ranks.

    Raises
    ------
    ValueError
        If the fraction does not lie in [0, 1], or p is below 1.

    References
    ----------
    Amdahl 1967.

    Examples
    --------
    >>> [round(amdahl(0.1, p), 2) for p in (1, 2, 10, 1000)]
    [1.0, 1.82, 5.26, 9.91]
    """
    serial_fraction, p = _fraction(serial_fraction, p, "amdahl")
    return 1 / (serial_fraction + (1 - serial_fraction) / p)


def gustafson(serial_fraction: float, p: int) -> float:
    r"""Return the speed-up when the shared part of the work grows with the ranks.

    .. math:: S(p) = s + (1 - s)\, p

    Parameters
    ----------
    serial_fraction : float
        :math:`s`: the serial share of the time on the p ranks (Amdahl's is that on one).
    p : int
        The number of ranks. Errors are those of :func:`amdahl`.

    References
    ----------
    Gustafson 1988.

    Examples
    --------
    >>> [round(gustafson(0.1, p), 2) for p in (1, 2, 10, 1000)]
    [1.0, 1.9, 9.1, 900.1]
    """
    serial_fraction, p = _fraction(serial_fraction, p, "gustafson")
    return serial_fraction + (1 - serial_fraction) * p


def karp_flatt(speedup: float, workers: int) -> float:
    r"""Return the serial share of the work that a measured speed-up speaks of.

    .. math:: e = \frac{1 / S - 1 / p}{1 - 1 / p}

    Amdahl's law solved for its fraction. Measured at several p it tells what is to blame: if e
    stays the same, work that is not shared; if e grows with p, what sharing itself costs, such as
    communication. A speed-up above p gives a negative number.

    Parameters
    ----------
    speedup : float
        :math:`S`: the time on one worker divided by that on all, above 0.
    workers : int
        :math:`p`, at least 2.

    Raises
    ------
    ValueError
        If the speed-up is not a finite number above 0, or there are fewer than 2 workers.

    References
    ----------
    Karp & Flatt 1990, Measuring parallel processor performance, CACM 33(5).

    Examples
    --------
    >>> [round(karp_flatt(speedup, p), 3) for speedup, p in ((1.82, 2), (3.08, 4), (4.7, 8))]
    [0.099, 0.1, 0.1]
    """
    p = check_integer(workers, where="karp_flatt", name="workers", at_least=2)
    speedup = check_number(speedup, where="karp_flatt", name="speedup", above=0)
    return (1 / speedup - 1 / p) / (1 - 1 / p)


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
    p = check_integer(p, where=where, name="p", at_least=1)
    vectors = check_integer(optimizer_vectors, where=where, name="optimizer_vectors", at_least=0)
    stage = check_integer(stage, where=where, name="stage", at_least=0)
    if stage > 3:
        raise ValueError(f"{where}: stage must be 0, 1, 2 or 3, got {stage}.")
    size = 2 if dtype is None else check_dtype(dtype, where=where).itemsize
    kept = 4 * (vectors + 1) if dtype is None else size * vectors
    part = -(-n // p)
    parameters, gradients, state = (part if stage >= from_ else n for from_ in (3, 2, 1))
    return Memory(size * parameters, size * gradients, kept * state)


class Memory(NamedTuple):
    """Bytes that a rank needs between steps."""

    parameters: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def pipeline_bubble(stages: int, micro_batches: int) -> float:
    r"""Return the share of the time that the stages of a pipeline stand idle.

    .. math:: \frac{p - 1}{m + p - 1}

    for p stages that all take the same time and m micro-batches: GPipe and 1F1B alike. (Narayanan
    et al. 2021 divide the idle time by the working time instead, which gives (p - 1) / m.)

    References
    ----------
    Huang et al. 2019 (GPipe), section 2.3.

    Examples
    --------
    >>> pipeline_bubble(stages=4, micro_batches=1), pipeline_bubble(stages=4, micro_batches=12)
    (0.75, 0.2)

    Notes
    -----
    Chapter: pipeline and tensor parallelism.
    """
    check_integer(stages, where="pipeline_bubble", name="stages", at_least=1)
    check_integer(micro_batches, where="pipeline_bubble", name="micro_batches", at_least=1)
    return (stages - 1) / (micro_batches + stages - 1)


def checkpoint_interval(checkpoint_seconds: float, mtbf_seconds: float) -> float:
    r"""Return how many seconds to train between checkpoints so as to lose the least time.

    .. math:: T = \sqrt{2 C M}

    Writing more often costs more writing, more seldom more work lost per failure. To first order
    in :math:`C / M`: right while a checkpoint takes much less time than passes between failures.

    Parameters
    ----------
    checkpoint_seconds : float
        :math:`C`: the time to write one, during which nothing is trained.
    mtbf_seconds : float
        :math:`M`: the mean time between failures of the whole gang; p ranks that each fail once
        in F seconds have :math:`M = F / p`.

    Raises
    ------
    ValueError
        If one is not a finite number above 0.

    References
    ----------
    Young 1974; Daly 2006 has the higher orders.

    Examples
    --------
    >>> checkpoint_interval(checkpoint_seconds=2, mtbf_seconds=10_000)
    200.0

    Notes
    -----
    Chapter: when workers die.
    """
    where = "checkpoint_interval"
    check_number(checkpoint_seconds, where=where, name="checkpoint_seconds", above=0)
    check_number(mtbf_seconds, where=where, name="mtbf_seconds", above=0)
    return math.sqrt(2 * checkpoint_seconds * mtbf_seconds)


def _fraction(serial_fraction: float, p: int, where: str) -> tuple[float, int]:
    name = "serial_fraction"
    share = check_number(serial_fraction, where=where, name=name, at_least=0, at_most=1)
    return share, check_integer(p, where=where, name="p", at_least=1)
