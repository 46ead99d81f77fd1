"""What the source article's NumPy listing does, in our own words, each fault with a switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from course_lib import weights
from course_lib.data import load_digits

SIZES = (64, 32, 10)
EVERY = frozenset({1, 2, 3, 4})
_split = load_digits()
IMAGES = np.vstack([_split.x_train, _split.x_test])
LABELS = np.concatenate([_split.y_train, _split.y_test])
TARGETS = np.eye(10)[LABELS]


@dataclass
class Specimen:
    """Two layers with ReLU and squared error; `faults` says which of the four are present."""

    faults: frozenset[int] = field(default_factory=frozenset)

    def start(self, rng: np.random.Generator, sizes=SIZES) -> list[np.ndarray]:
        """Return W1, b1, W2, b2."""
        params = []
        for fan_in, fan_out in pairwise(sizes):
            if 3 in self.faults:
                W = rng.uniform(0.0, 1.0, (fan_in, fan_out))
            else:
                W = weights.he_normal(rng, fan_in, fan_out)
            params += [W, np.zeros(fan_out)]
        return params

    def loss(self, params, x, t) -> float:
        """Return what the updates descend: half the squared error."""
        rows = 1 if 4 in self.faults else len(x)
        return float(np.sum((hidden_and_outputs(params, x)[1] - t) ** 2) / (2 * rows))

    def gradient(self, params, x, t) -> list[np.ndarray]:
        """Return what is taken for the gradient of the loss."""
        hidden, outputs = hidden_and_outputs(params, x)
        dz2 = (outputs - t) / (1 if 4 in self.faults else len(x))
        dz1 = dz2 @ params[2].T
        if 1 not in self.faults:
            dz1 = dz1 * (hidden > 0)
        db1, db2 = dz1.sum(axis=0), dz2.sum(axis=0)
        if 2 in self.faults:
            db1, db2 = np.full_like(db1, dz1.sum()), np.full_like(db2, dz2.sum())
        return [x.T @ dz1, db1, hidden.T @ dz2, db2]

    def train(self, rate, *, seed, epochs=200, x=IMAGES, t=TARGETS):
        """Return the parameters after full-batch steps, and the epoch of the first overflow."""
        params = self.start(np.random.default_rng(seed))
        for epoch in range(1, epochs + 1):
            with np.errstate(all="ignore"):
                steps = self.gradient(params, x, t)
                params = [p - rate * g for p, g in zip(params, steps, strict=True)]
            if not all(np.isfinite(p).all() for p in params):
                return params, epoch
        return params, None


def hidden_and_outputs(params, x):
    """Return the activations of the hidden layer and the outputs."""
    W1, b1, W2, b2 = params
    hidden = np.maximum(x @ W1 + b1, 0)
    return hidden, hidden @ W2 + b2


def share_right(params) -> float:
    """Return the accuracy on the images that were trained on."""
    return float(np.mean(hidden_and_outputs(params, IMAGES)[1].argmax(axis=1) == LABELS))
