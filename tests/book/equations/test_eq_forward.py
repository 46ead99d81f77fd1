"""The equations of the chapter "Forward propagation", each computed a second way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from course_lib import activations, mlp, softmax
from course_lib.torch_mlp import to_torch

ROUNDING = 1e-12  # sums of a few products of numbers near 1: 1e-15 each, with room
SIZES = [[7, 6, 3], [7, 4, 6, 3], [5, 2]]


def network(sizes, hidden="tanh", seed=0):
    """A network that is not square, with biases that are not zero, and five rows."""
    rng = np.random.default_rng(seed)
    net = mlp(sizes, hidden=hidden)
    return net, rng.normal(size=net.n_params), rng.normal(size=(5, sizes[0]))


@pytest.mark.equation("eq-forward-layer")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_a_network_is_layers_in_a_row(sizes, hidden):
    net, theta, x = network(sizes, hidden)
    outputs, _ = net.forward(theta, x)
    dense = net.unpack(theta)[::2]
    for row, answer in zip(x, outputs, strict=True):  # one neuron after the other
        a = list(row)
        for depth, p in enumerate(dense):
            z = [
                sum(a[k] * p["W"][k, j] for k in range(len(a))) + p["b"][j]
                for j in range(len(p["b"]))
            ]
            last = depth == len(dense) - 1
            bend = np.tanh if hidden == "tanh" else lambda v: max(v, 0.0)
            a = z if last else [bend(v) for v in z]
        np.testing.assert_allclose(answer, a, rtol=ROUNDING, atol=ROUNDING)
    by_torch = to_torch(net, theta)(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(outputs, by_torch, rtol=ROUNDING, atol=ROUNDING)


def test_the_hand_calculation():
    net = mlp([2, 3, 2])
    theta = np.array([1, 0, -1, 2, 1, 0, 0, -1, 2, 1, -1, 0, 2, -1, 1, 0, 1.0])
    outputs, caches = net.forward(theta, [[1.0, 2.0], [3.0, -1.0]])
    np.testing.assert_array_equal(caches[1][0], [[5, 1, 1], [1, -2, -1]])
    np.testing.assert_array_equal(caches[1][1], [[5, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(outputs, [[4, -1], [1, 0]])


@pytest.mark.equation("eq-forward-rows")
def test_rows_do_not_meet():
    net, theta, x = network([7, 4, 6, 3])
    together, _ = net.forward(theta, x)
    for i in range(len(x)):
        alone, _ = net.forward(theta, x[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], rtol=ROUNDING, atol=ROUNDING)
        others = x.copy()
        others[np.arange(len(x)) != i] = 1e6
        changed, _ = net.forward(theta, others)
        np.testing.assert_allclose(changed[i], together[i], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.equation("eq-forward-offset")
@pytest.mark.parametrize("sizes", SIZES)
def test_every_parameter_lies_where_the_formula_says(sizes):
    net = mlp(sizes)
    theta = np.arange(net.n_params, dtype=np.float64)  # each number is its own place
    for layer, p in enumerate(net.unpack(theta)[::2], start=1):
        o = sum((sizes[m - 1] + 1) * sizes[m] for m in range(1, layer))
        m, n = sizes[layer - 1], sizes[layer]
        for k, j in np.ndindex(m, n):
            assert p["W"][k, j] == o + k * n + j
        for j in range(n):
            assert p["b"][j] == o + m * n + j


@pytest.mark.equation("eq-forward-flops")
@pytest.mark.parametrize("sizes", SIZES)
def test_operations_are_counted_one_by_one(sizes):
    done = 0
    for _ in range(5):
        for m, n in pairwise(sizes):
            for _ in range(n):
                done += m  # products
                done += m - 1  # additions of products
                done += 1  # the bias
    assert done == 2 * 5 * sum(m * n for m, n in pairwise(sizes))


@pytest.mark.equation("eq-forward-bytes")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_bytes_are_those_of_the_arrays(sizes, dtype, monkeypatch):
    net, theta, x = network(sizes)
    theta, seen = theta.astype(dtype), []
    matmul = np.matmul

    def watching(p, q, out=None):
        seen.append(p.nbytes + q.nbytes + out.nbytes)
        return matmul(p, q, out=out)

    monkeypatch.setattr(np, "matmul", watching)
    net.forward(theta, x.astype(dtype))
    biases = sum(p["b"].nbytes for p in net.unpack(theta)[::2])
    B, N = np.dtype(dtype).itemsize, len(x)
    printed = B * sum((m + 1) * n + N * (m + n) for m, n in pairwise(sizes))
    assert sum(seen) + biases == printed


@pytest.mark.equation("eq-forward-intensity")
def test_intensity_is_operations_over_bytes_and_has_a_ceiling():
    m, n, B = 784, 128, 4

    def printed(N):
        return 2 * N * m * n / (B * ((m + 1) * n + N * (m + n)))

    rng = np.random.default_rng(0)
    x, W, b = (rng.random(s).astype("float32") for s in ((10, m), (m, n), n))
    z = x @ W + b
    assert printed(10) == pytest.approx(
        2 * z.size * m / (x.nbytes + W.nbytes + b.nbytes + z.nbytes)
    )
    assert printed(1) == pytest.approx(2 / B, rel=0.02)
    assert printed(10**9) == pytest.approx(2 * m * n / (B * (m + n)), rel=1e-5)


@pytest.mark.equation("eq-forward-memory")
@pytest.mark.parametrize("sizes", SIZES)
def test_the_caches_hold_as_many_bytes_as_the_formula_says(sizes):
    net, theta, x = network(sizes)
    outputs, caches = net.forward(theta, x)
    arrays = {id(outputs): outputs}
    for cache in caches:
        for array in cache if isinstance(cache, tuple) else (cache,):
            arrays[id(array)] = array
    printed = 8 * len(x) * (sizes[0] + 2 * sum(sizes[1:-1]) + sizes[-1])
    assert sum(array.nbytes for array in arrays.values()) == printed


@pytest.mark.equation("eq-forward-affine")
def test_a_relu_network_is_affine_where_no_unit_switches():
    net, theta, x = network([7, 6, 3], "relu")
    p1, _, p2 = net.unpack(theta)
    for row in x:
        S = np.diag((row @ p1["W"] + p1["b"] > 0).astype(float))
        A = p1["W"] @ S @ p2["W"]
        c = p1["b"] @ S @ p2["W"] + p2["b"]
        outputs, _ = net.forward(theta, row[None])
        np.testing.assert_allclose(outputs[0], row @ A + c, rtol=ROUNDING, atol=ROUNDING)
        t = torch.tensor(row)
        jacobian = torch.autograd.functional.jacobian(to_torch(net, theta), t)
        np.testing.assert_allclose(jacobian.numpy().T, A, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.equation("eq-forward-regions")
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_lines_cut_the_plane_into_so_many_cells(m):
    # Tangents of the unit circle at uneven angles: no two parallel, no three through one point.
    angle = 0.3 + np.arange(m) ** 1.3
    normals = np.stack([np.cos(angle), np.sin(angle)])
    net = mlp([2, m, 1], loss="mse")
    tree = [{"W": normals, "b": -np.ones(m)}, {}, {"W": np.ones((m, 1)), "b": np.zeros(1)}]
    theta = net.pack(tree)
    # Points all around each crossing, and far out in every direction, visit every cell.
    spots = [np.zeros(2)]
    turn = np.linspace(0, 2 * np.pi, 721)
    around = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for i in range(m):
        for j in range(i):
            spots.append(np.linalg.solve(normals[:, [i, j]].T, np.ones(2)))
    points = np.vstack([spot + 1e-3 * around for spot in spots] + [1e4 * around])
    _, caches = net.forward(theta, points)
    found = len(np.unique(caches[1][0] > 0, axis=0))
    assert found == 1 + m + m * (m - 1) // 2


@pytest.mark.equation("eq-forward-pieces")
@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_every_tent_doubles_the_pieces(depth):
    t = np.arange(2**12 + 1) / 2**12  # exact in binary, and so is every value of the tent
    relu, value = activations.relu, t
    for _ in range(depth):
        value = 2 * relu(value) - 4 * relu(value - 0.5)
    assert np.count_nonzero(np.diff(value, 2)) + 1 == 2**depth
    peak = np.arange(1, 2**depth, 2) / 2**depth
    np.testing.assert_array_equal(t[value == 1], peak)


@pytest.mark.equation("eq-forward-answer")
def test_softmax_does_not_change_the_answer():
    net, theta, x = network([7, 6, 3])
    logits, _ = net.forward(theta, x)
    p = torch.softmax(torch.tensor(logits), dim=1).numpy()
    np.testing.assert_array_equal(logits.argmax(axis=1), p.argmax(axis=1))
    np.testing.assert_array_equal(net.predict(theta, x), p.argmax(axis=1))
    np.testing.assert_allclose(net.predict_proba(theta, x), p, rtol=ROUNDING)
    np.testing.assert_allclose(softmax(logits), p, rtol=ROUNDING)
