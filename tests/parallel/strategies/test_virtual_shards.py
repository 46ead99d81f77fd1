"""Virtual shards: one cut and one order of additions, so the same bits on any number of ranks.

The oracle is written out here: a serial loop over the shards of each batch, and a sum by an aligned
binary tree. Equality is of bits, everywhere.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import course_lib
from course_lib import SGD, Adam, EarlyStopping, fit, mlp
from course_lib.data import batches
from course_lib.layers import noise
from course_lib.parallel import VirtualShards, train
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives.aligned_tree import AlignedTree, tree_sum
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import RankFailed
from course_lib.parallel.strategies.local_gradient import RowNoise

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(11, 7)), RNG.integers(0, 3, 11)
NET = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
OPTIONS = {"epochs": 3, "batch_size": 20, "seed": 5}  # the last batch has 13 rows


def sha256(theta):
    return hashlib.sha256(theta.tobytes()).hexdigest()


def serial(optimizer, shards, dtype=np.float64):
    """Train without any rank: every batch in `shards` pieces, summed by a tree."""
    theta = NET.init(np.random.default_rng(5), dtype=dtype)
    state, x = optimizer.init(theta), X.astype(dtype)
    for epoch in range(3):
        for step, rows in enumerate(batches(53, 20, seed=5, epoch=epoch)):
            pieces, start = [], 0
            for part in np.array_split(rows, shards):
                gradient = np.zeros_like(theta)
                if len(part):
                    piece = slice(start, start + len(part))
                    rng = RowNoise(noise(5, epoch, step), piece, len(rows))
                    NET.loss_and_grad(
                        theta, x[part], Y[part], denominator=len(rows), out=gradient, rng=rng
                    )
                pieces.append(gradient)
                start += len(part)
            while len(pieces) > 1:
                pieces = [a + b for a, b in zip(pieces[::2], pieces[1::2], strict=True)]
            theta, state = optimizer.step(theta, pieces[0], state)
    return theta


def parallel(optimizer, workers, shards, **options):
    options = {"comm": "inprocess", "timeout": 30, **OPTIONS} | options
    return train(
        NET, (X, Y), optimizer=optimizer, workers=workers, virtual_shards=shards, **options
    )


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 7, 8])
def test_serial_and_any_number_of_ranks_give_the_same_bits(optimizer, workers):
    result = parallel(optimizer, workers, 8)
    assert set(result.digests) == {sha256(serial(optimizer, 8))}


@pytest.mark.parametrize("shards", [1, 2, 32])  # of 32 shards of 13 or 20 rows some are empty
def test_any_number_of_shards_gives_the_same_bits_on_one_and_two_ranks(shards):
    expected = sha256(serial(SGD(0.1), shards))
    for workers in {1, min(2, shards)}:
        assert set(parallel(SGD(0.1), workers, shards).digests) == {expected}


def test_float32_too():
    theta = NET.init(np.random.default_rng(5), dtype=np.float32)
    expected = serial(Adam(0.01), 8, np.float32)
    for workers in (1, 3, 4):
        result = parallel(Adam(0.01), workers, 8, theta=theta)
        assert result.theta.dtype == np.float32
        assert set(result.digests) == {sha256(expected)}


def test_virtual_shards_are_the_serial_training_up_to_rounding():
    theta = NET.init(np.random.default_rng(5))
    reference = fit(NET, theta, Adam(0.01), X, Y, validation=(XV, YV), **OPTIONS)
    result = parallel(Adam(0.01), 3, 8, validation=(XV, YV))
    np.testing.assert_allclose(result.theta, reference.theta, rtol=0, atol=1e-12)
    for name, values in reference.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-12)


def test_the_history_has_the_same_bits_too_so_all_stop_in_the_same_epoch():
    options = {"validation": (XV, YV), "epochs": 30, "stop": EarlyStopping(patience=2)}
    first = parallel(Adam(0.05), 1, 8, **options)
    assert 2 < len(first.history["loss"]) < 30
    for workers in (2, 3, 8):
        result = parallel(Adam(0.05), workers, 8, **options)
        assert result.history == first.history  # floats, compared exactly
        assert result.digests[0] == first.digests[0]


def test_without_virtual_shards_the_bits_do_depend_on_the_number_of_ranks():
    """Else the tests above would show nothing."""
    digests = {
        train(NET, (X, Y), optimizer=SGD(0.1), workers=p, comm="inprocess", **OPTIONS).digests[0]
        for p in (1, 2, 3, 4, 8)
    }
    assert len(digests) > 1


def test_the_torch_backend_keeps_its_own_bits_on_any_number_of_ranks():
    pytest.importorskip("torch")
    results = [parallel(SGD(0.1), p, 4, backend="torch") for p in (1, 2, 3)]
    assert len({result.digests[0] for result in results}) == 1
    np.testing.assert_allclose(results[0].theta, serial(SGD(0.1), 4), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_tree_adds_in_the_order_of_the_leaves(size):
    leaves = RNG.normal(size=(8, 100)) * 10.0 ** RNG.integers(-8, 8, size=(8, 1))
    (a, b, c, d, e, f, g, h) = leaves
    expected = ((a + b) + (c + d)) + ((e + f) + (g + h))
    assert np.array_equal(tree_sum(list(leaves)), expected)

    def add(comm):
        tree = AlignedTree(comm, 8, 100, float, Stopwatch())
        for _ in range(2):  # a second sum must not remember the first
            total = tree.sum(lambda index, out: np.copyto(out, leaves[index]))
        return total.copy()

    for total in run_threads(size, add):
        assert np.array_equal(total, expected)


@pytest.mark.parametrize(
    ("shards", "match"), [(6, r"power of two.*got 6. Use 4 or 8"), (0, "at le")]
)
def test_shards_must_be_a_power_of_two(shards, match):
    with pytest.raises(ValueError, match=match):
        parallel(SGD(0.1), 2, shards)


def test_more_ranks_than_shards_are_refused():
    with pytest.raises(ValueError, match=r"3 workers cannot share virtual_shards=2"):
        parallel(SGD(0.1), 3, 2)
    with pytest.raises(RankFailed, match=r"3 ranks cannot share 2 virtual shards"):
        run_threads(3, lambda comm: AlignedTree(comm, 2, 1, float, Stopwatch()))


def test_virtual_shards_are_a_strategy_and_go_with_no_other():
    result = parallel(SGD(0.1), 2, None, strategy=VirtualShards(4), validation=(XV, YV))
    same = parallel(SGD(0.1), 4, 4, validation=(XV, YV))
    assert result.digests[0] == same.digests[0]
    assert result.history == same.history
    with pytest.raises(ValueError, match=r"virtual_shards is for the strategy 'sync', and not for"):
        parallel(SGD(0.1), 2, 8, strategy=VirtualShards(4))


def test_virtual_shards_on_dask_workers_give_the_bits_of_threads(client):
    expected = sha256(serial(Adam(0.01), 8))
    for workers in (1, 2, 3):
        result = parallel(Adam(0.01), workers, 8, comm="dask", client=client)
        assert set(result.digests) == {expected}


THREADS = """
import sys
import numpy as np
from course_lib import SGD, mlp
from course_lib.parallel import train

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    data = rng.normal(size=(512, 300)), rng.integers(0, 10, 512)
    net = mlp([300, 256, 256, 10])  # so large that BLAS uses its threads
    options = dict(optimizer=SGD(0.1), epochs=2, batch_size=256, virtual_shards=4)
    for workers, comm in ((1, "inprocess"), (2, "inprocess"), (4, "inprocess"), (2, "auto")):
        result = train(net, data, workers=workers, comm=comm, **options)
        print(comm, *set(result.digests), repr(result.theta[:3].tolist()), sep=";")
"""


@pytest.mark.timeout(220)
def test_with_one_number_of_blas_threads_the_bits_are_the_same_whatever_the_ranks(tmp_path):
    """Threads of this process, one or several, and the processes of a private cluster."""
    pytest.importorskip("distributed")
    (tmp_path / "script.py").write_text(THREADS)
    numbers = []
    for threads in ("1", "2"):
        environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        environment |= {f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL")}
        environment["PYTHONPATH"] = str(Path(course_lib.__file__).parents[1])
        run = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        lines = [line.split(";") for line in run.stdout.splitlines()]
        assert len(lines) == 4
        assert len({digest for _, digest, _ in lines}) == 1
        numbers.append(ast.literal_eval(lines[0][2]))
    np.testing.assert_allclose(*numbers, rtol=1e-10)  # of two numbers only up to rounding
