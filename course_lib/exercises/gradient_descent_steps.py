"""Steps of gradient descent for a learner's test: innocent ones, and some that move too early.

Chapter: gradient descent.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Steps:
    """The steps, as methods; the first notes how many parameters it saw."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def innocent(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Step as gradient descent does."""
        self.sizes.append(np.size(theta))
        return theta - lr * np.asarray(gradient(theta))

    def slower(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Go half as far."""
        return theta - 0.5 * lr * np.asarray(gradient(theta))

    def asks_twice(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Ask for the gradient twice at the same place."""
        gradient(theta)
        return theta - lr * np.asarray(gradient(theta))

    def in_place(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Ask once, then write into theta."""
        place = np.asarray(theta, float)
        place -= lr * np.asarray(gradient(place))
        return place

    def one_by_one(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Ask anew for each parameter when those before have moved."""
        place = np.array(theta, float)
        for axis in np.eye(place.size):
            place = place - lr * np.asarray(gradient(place)) * axis
        return place

    def one_by_one_in_place(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Do the same, and write into theta."""
        place = np.asarray(theta, float)
        for i in range(place.size):
            place[i] -= lr * np.asarray(gradient(place))[i]
        return place

    def from_the_last(self, gradient: Any, theta: Any, lr: float) -> Any:
        """Ask anew for each parameter, the last one first."""
        place = np.array(theta, float)
        for axis in np.eye(place.size)[::-1]:
            place = place - lr * np.asarray(gradient(place)) * axis
        return place
