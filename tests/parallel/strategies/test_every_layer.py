"""Every strategy with every kind of layer, also of one's own: the serial run, or a refusal by name.

Tolerance 1e-10 relative against the serial run: the same numbers are added in another order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from course_lib import SGD, gradcheck, losses, mlp
from course_lib.activations import tanh
from course_lib.layers import Activate, Dense, Dropout, Elementwise, fresh
from course_lib.network import Network
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    SyncSGD,
    TensorParallel,
    VirtualShards,
    ZeRO1,
    train,
)
from tests.parallel.sessions import BATCH, SEED, X, Y, serial, start

pytestmark = pytest.mark.timeout(110)


@dataclass(frozen=True)
class Norm(Elementwise):
    """Each row to mean 0 and variance 1; needs two arrays in each direction."""

    def forward(self, p, x, *, rng=None, empty=fresh):
        y = np.subtract(x, x.mean(axis=1, keepdims=True), out=empty(x.shape, x.dtype))
        s = np.sqrt((y * y).mean(axis=1, keepdims=True) + 0.1)
        return np.divide(y, s, out=empty(x.shape, x.dtype)), (y, s)

    def backward(self, p, cache, dy, *, empty=fresh):
        y, s = cache
        y = np.divide(y, s, out=empty(dy.shape, dy.dtype))
        dx = np.multiply(y, (dy * y).mean(axis=1, keepdims=True), out=empty(dy.shape, dy.dtype))
        return (dy - dy.mean(axis=1, keepdims=True) - dx) / s


@dataclass(frozen=True)
class Written:
    """Norm, written to the protocol and derived from nothing."""

    fan_in = None
    width = Norm.width
    shapes = Norm.shapes
    init = Norm.init
    gradient = Norm.gradient
    forward = Norm.forward
    backward = Norm.backward


@dataclass(frozen=True)
class Gain(Elementwise):
    """Each unit times a parameter of its own."""

    n: int

    def shapes(self):
        return {"g": (self.n,)}

    def init(self, rng):
        return {"g": np.ones(self.n)}

    def forward(self, p, x, *, rng=None, empty=fresh):
        return x * p["g"], x

    def gradient(self, cache, dy, out):
        out["g"][:] = (dy * cache).sum(axis=0)

    def backward(self, p, cache, dy, *, empty=fresh):
        return dy * p["g"]


@dataclass(frozen=True)
class Centred(Dense):
    """Dense, and then the mean over the units is taken away."""

    def forward(self, p, x, *, rng=None, empty=fresh):
        z, cache = super().forward(p, x, rng=rng, empty=empty)
        return z - z.mean(axis=1, keepdims=True), cache

    def gradient(self, cache, dy, out):
        super().gradient(cache, dy - dy.mean(axis=1, keepdims=True), out)

    def backward(self, p, cache, dy, *, empty=fresh):
        return super().backward(p, cache, dy - dy.mean(axis=1, keepdims=True), empty=empty)


@dataclass(frozen=True)
class Softly(Activate):
    """An activation after which each row adds up to 1."""

    def forward(self, p, x, *, rng=None, empty=fresh):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        return y, y

    def backward(self, p, cache, dy, *, empty=fresh):
        return cache * (dy - (cache * dy).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class WholeRows(Dropout):
    """Drops rows, by one random number each."""

    def forward(self, p, x, *, rng=None, empty=fresh):
        if rng is None:
            return x, None
        mask = (rng.random((len(x), 1)) >= self.rate) / (1 - self.rate)
        return x * mask, mask * np.ones_like(x)


def net(*between, second=None):
    second = second or Dense(6, 5)
    layers = (Dense(7, 6), *between, second, Activate(tanh), Dropout(0.2), Dense(5, 3))
    return Network(layers, losses.softmax_cross_entropy)


PLAIN = {
    "mlp": mlp([7, 6, 5, 3], hidden="tanh"),
    "dropout": mlp([7, 6, 5, 3], hidden="tanh", dropout=0.4),
    "two in a row": net(Activate(tanh), Dropout(0.3), Activate(tanh)),
    "nothing between": net(),
}
OWN = {
    "Norm": net(Norm(), Activate(tanh)),
    "Written": net(Activate(tanh), Written()),
    "Gain": net(Gain(6), Activate(tanh)),
    "Centred": net(Activate(tanh), second=Centred(6, 5)),
    "Softly": net(Softly(tanh)),
    "WholeRows": net(Activate(tanh), WholeRows(0.3)),
}
STRATEGIES = [
    SyncSGD(), SyncSGD("ring"), VirtualShards(4), ZeRO1(), LocalSGD(1), AsyncParameterServer(0),
    Compressed(PowerSGD(7)), Pipeline(2, 2), Pipeline(2, 3, "1f1b"), TensorParallel(),
    Mesh(data=2, pipeline=2, micro_batches=2), Mesh(data=2, tensor=2), Mesh(pipeline=2, tensor=2),
]  # fmt: skip


def refused(strategy, name):
    """Whether a network can not be had with a strategy."""
    if name not in OWN:
        return False
    if strategy == Mesh(pipeline=2, tensor=2):
        return name != "Centred"  # the stages are cut behind it, and then it has no partner
    if strategy in (TensorParallel(), Mesh(data=2, tensor=2)):
        return True
    return name == "WholeRows" and isinstance(strategy, Pipeline | Mesh)


@pytest.mark.parametrize("name", [*PLAIN, *OWN])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_network_of_any_layers_is_trained_as_in_the_serial_run_or_refused(strategy, name):
    model = (PLAIN | OWN)[name]
    workers = strategy.size if isinstance(strategy, Mesh) else 2
    options = {
        "optimizer": SGD(0.1), "epochs": 2, "batch_size": BATCH, "seed": SEED,
        "theta": start(model), "comm": "inprocess", "workers": workers, "strategy": strategy,
    }  # fmt: skip
    if refused(strategy, name):
        with pytest.raises(ValueError, match=rf"layer \d, {name}\(.*Use another strategy"):
            train(model, (X, Y), **options)
        return
    result = train(model, (X, Y), **options)
    reference = serial(SGD(0.1), net=model, epochs=2)
    scale = np.abs(reference.theta).max()
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-10 * scale)
    assert result.replicas_identical


@pytest.mark.parametrize("name", OWN)
def test_with_pytorch_a_layer_of_ones_own_is_refused(name):
    pytest.importorskip("torch")
    with pytest.raises(Exception, match=f"the layer {name} has no twin in PyTorch"):
        train(
            OWN[name], (X, Y), optimizer=SGD(0.1), epochs=1, batch_size=BATCH, workers=1,
            comm="inprocess", backend="torch",
        )  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_these_layers_are_right(name):
    """Or the comparison with the serial run would say little."""
    model = OWN[name]
    assert max(gradcheck.check(model, start(model), X[:5], Y[:5]).values()) < 1e-6
