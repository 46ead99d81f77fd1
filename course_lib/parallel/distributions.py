"""Ranges of hyper-parameters to draw from: evenly, by orders of magnitude, or whole numbers.

Chapter: search.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distribution(ABC):
    """A range to draw from.

    Parameters
    ----------
    low, high : float
        The ends.

    Raises
    ------
    ValueError
        If `low` is not below `high`, or not a possible value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(
                f"{type(self).__name__}: expected finite ends with low < high, got {self.low!r} "
                f"and {self.high!r}."
            )

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> float | int:
        """Draw one value, a Python number."""


@dataclass(frozen=True)
class Uniform(Distribution):
    """All values between low and high alike.

    Examples
    --------
    >>> 0 <= Uniform(0, 0.5).draw(np.random.default_rng(0)) < 0.5
    True
    """

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform(Distribution):
    """All orders of magnitude alike: for learning rates and other factors.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> below = sum(LogUniform(1e-4, 1).draw(rng) < 1e-2 for _ in range(1000))
    >>> 450 < below < 550  # half of the orders of magnitude, half of the draws
    True
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ValueError(f"LogUniform: low must be above 0, got {self.low!r}.")

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


@dataclass(frozen=True)
class Integers(Distribution):
    """All integers from low to high alike, both ends included.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sorted({Integers(1, 3).draw(rng) for _ in range(100)})
    [1, 2, 3]
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            if not isinstance(getattr(self, name), (int, np.integer)):
                raise TypeError(
                    f"Integers: {name} must be an integer, got {getattr(self, name)!r}."
                )

    def draw(self, rng: np.random.Generator) -> int:
        """Draw one value."""
        return int(rng.integers(int(self.low), int(self.high), endpoint=True))
