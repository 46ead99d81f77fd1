"""The figure of a signal through many layers, against a network of the package."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import activations, losses
from course_lib.network import Activate, Dense, Network
from tests.browser.figures import Figure

WIDTH, SAMPLES = 100, 8


def uniforms(seed: int, count: int) -> np.ndarray:
    """Return the numbers of the generator mulberry32, which counts: each is a hash of its place."""
    state = (seed + 0x6D2B79F5 * np.arange(1, count + 1, dtype=np.uint64)) & 0xFFFFFFFF
    mask = np.uint64(0xFFFFFFFF)
    t = (state ^ (state >> np.uint64(15))) * (state | np.uint64(1)) & mask
    t ^= (t + ((t ^ (t >> np.uint64(7))) * (t | np.uint64(61)) & mask)) & mask
    return ((t ^ (t >> np.uint64(14))) & mask) / 2**32


def normals(seed: int, count: int) -> np.ndarray:
    """Return standard normal numbers, in pairs as Box and Muller make them."""
    u = uniforms(seed, count)
    radius, angle = np.sqrt(-2 * np.log(1 - u[::2])), 2 * np.pi * u[1::2]
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]).ravel()


def sizes(name: str, gain: float, depth: int, seed: int) -> tuple[float, float]:
    """Return the rms of the inputs, and of the outputs of a network with these weights."""
    numbers = normals(seed, (SAMPLES + depth * WIDTH) * WIDTH)
    x, weights = np.split(numbers, [SAMPLES * WIDTH])
    layer = (Dense(WIDTH, WIDTH), Activate(activations.get(name)))
    net = Network(layer * depth, losses.mse)
    theta = net.init(np.random.default_rng(0))
    dense = (part for part in net.unpack(theta) if part)
    matrices = weights.reshape(depth, WIDTH, WIDTH) * math.sqrt(gain / WIDTH)
    for part, matrix in zip(dense, matrices, strict=True):
        part["W"][:] = matrix
    outputs, _ = net.forward(theta, x.reshape(SAMPLES, WIDTH))
    return tuple(math.sqrt(np.mean(v**2)) for v in (x, outputs))


def agrees(figure: Figure, name: str) -> None:
    """Compare the sentence: g squared, the two sizes, the layers, the factor per layer."""
    gain, depth, seed = figure.value("gain"), int(figure.value("depth")), int(figure.value("seed"))
    first, last = sizes(name, gain, depth, seed)
    shown = figure.numbers
    assert shown[0] == gain and shown[3] == depth
    # Three decimals, or three digits, are shown.
    assert shown[1] == pytest.approx(first, rel=5e-3, abs=6e-4)
    assert shown[2] == pytest.approx(last, rel=5e-3, abs=6e-4 if last > 1e-3 else 0)
    assert shown[4] == pytest.approx((last / first) ** (1 / depth), abs=6e-4)


def test_the_generator_is_the_one_it_says_it_is(page: Any, html: Path) -> None:
    """The first numbers of two seeds, made in the browser and here."""
    Figure(page, html, "signal")
    for seed in (0, 7):
        script = "const g = Figures.tools.generator(arguments[0]); return [g(), g(), g(), g()]"
        assert page.js(script, seed) == uniforms(seed, 4).tolist()


def test_the_signal_is_that_of_a_network(page: Any, html: Path) -> None:
    """At the start, and after each control was moved by keys."""
    figure = Figure(page, html, "signal")
    agrees(figure, "relu")
    for key, *keys in (("gain", *["right"] * 5), ("depth", *["left"] * 7), ("seed", "right")):
        before = figure.drawing
        figure.press(key, *keys)
        assert figure.drawing != before
        agrees(figure, "relu")
    figure.to_end("gain", 9.0)
    for name in ("tanh", "sigmoid", "identity"):
        figure.choose("name", name)
        agrees(figure, name)
    figure.push("Glorot: g² = 1")
    agrees(figure, "identity")
