"""Unusual starts, which a learner's test of starts has to judge.

Chapter: initialisation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from course_lib import weights


def signs(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
    """Return weights of He's variance that have two values only."""
    return math.sqrt(2 / fan_in) * rng.choice([-1.0, 1.0], size=(fan_in, fan_out))


def with_variance(variance: Any) -> Any:
    """Return a start of normal weights whose variance is a function of the two fans."""

    def start(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
        return math.sqrt(variance(fan_in, fan_out)) * rng.normal(size=(fan_in, fan_out))

    return start


def positive(rng: np.random.Generator, fan_in: int, fan_out: int) -> NDArray[Any]:
    """Return He's weights without their signs."""
    return np.abs(weights.he_normal(rng, fan_in, fan_out))
