"""Toy data in the plane: small enough to see, twisted enough that a straight line fails.

Both functions return ``(x, y)``: inputs of shape ``(n, 2)`` in float64 and n labels (int64) in
random order, classes of equal size (to one sample), all drawn from the generator ``rng``.

Chapter: data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from course_lib.arrays import Array, check_generator, check_integer, check_number


def _noise(
    rng: np.random.Generator, noise: float, shape: tuple[int, int], where: str
) -> NDArray[np.float64]:
    noise = check_number(noise, where=where, name="noise", at_least=0)
    return noise * rng.standard_normal(shape)


def two_moons(n: int, *, noise: float = 0.1, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two half circles, each around an end of the other: no straight line separates them.

    Class 0 is ``(cos t, sin t)``, class 1 is ``(1 - cos t, 1/2 - sin t)``, t uniform in [0, pi],
    plus Gaussian noise of standard deviation `noise`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> x, y = two_moons(200, rng=np.random.default_rng(0))
    >>> x.shape, np.bincount(y)
    ((200, 2), array([100, 100]))
    """
    n = check_integer(n, where="two_moons", name="n", at_least=2)
    rng = check_generator(rng, where="two_moons")
    y = rng.permutation(np.arange(n) % 2)
    t = rng.uniform(0, np.pi, n)
    first = np.stack([np.cos(t), np.sin(t)], axis=1)
    x = np.where(y[:, None] == 0, first, [1, 0.5] - first)
    return x + _noise(rng, noise, x.shape, "two_moons"), y


def spirals(
    n: int, *, classes: int = 3, noise: float = 0.1, rng: np.random.Generator
) -> tuple[Array, Array]:
    """As many spiral arms as classes: each arm turns by 4 radians between radius 0.2 and 2.

    Gaussian noise of standard deviation `noise` is added to both coordinates.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> x, y = spirals(90, rng=np.random.default_rng(0))
    >>> x.shape, np.bincount(y)
    ((90, 2), array([30, 30, 30]))
    """
    classes = check_integer(classes, where="spirals", name="classes", at_least=2)
    n = check_integer(n, where="spirals", name="n", at_least=classes)
    rng = check_generator(rng, where="spirals")
    y = rng.permutation(np.arange(n) % classes)
    s = rng.uniform(0.1, 1, n)
    angle = 4 * s + 2 * np.pi * y / classes
    x = 2 * s[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + _noise(rng, noise, x.shape, "spirals"), y
