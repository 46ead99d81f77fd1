"""Data that the workers read themselves give the training that arrays give.

The oracle is the serial ``fit`` on arrays; what is visited is counted; memory is limited by the
operating system.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from course_lib import Adam, fit, mlp
from course_lib.parallel import BlockShuffle, train, write_shards
from course_lib.parallel.errors import CheckpointMismatch, RankFailed
from course_lib.parallel.sources import DaskRows, InBlocks, NpyRows, ShardRows

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
NET = mlp([7, 6, 3], hidden="tanh")
CUTS = [0, 20, 21, 50, 53]
OPTIONS = {"optimizer": Adam(0.01), "epochs": 3, "batch_size": 10, "seed": 5}


def as_npy(folder: Path):
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    return folder / "x.npy", str(folder / "y.npy")


def as_shards(folder: Path):
    write_shards(folder / "shards", ((X[a:b], Y[a:b]) for a, b in pairwise(CUTS)))
    return folder / "shards"


def as_dask(folder: Path):
    da = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    x_path, y_path = as_npy(folder)

    def load(path, a, b):  # reads its rows, and carries none
        return np.array(np.load(path, mmap_mode="r")[a:b])

    def rows(path, shape, dtype):
        return da.concatenate(
            [
                da.from_delayed(dask.delayed(load)(str(path), a, b), (b - a, *shape), dtype)
                for a, b in pairwise(CUTS)
            ]
        )

    return rows(x_path, (7,), X.dtype), rows(y_path, (), Y.dtype)


KINDS = {"npy": as_npy, "shards": as_shards, "dask": as_dask}


def serial():
    theta = NET.init(np.random.default_rng(5))
    return fit(NET, theta, Adam(0.01), X, Y, epochs=3, batch_size=10, seed=5)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_each_source_gives_the_training_of_the_arrays(tmp_path, kind, workers):
    data = KINDS[kind](tmp_path)
    options = {"workers": workers, "comm": "inprocess", "timeout": 30, **OPTIONS}
    result, arrays = train(NET, data, **options), train(NET, (X, Y), **options)
    assert result.digests == arrays.digests  # the same rows in the same order: the same bits
    assert result.history == arrays.history
    np.testing.assert_allclose(result.theta, serial().theta, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_each_source_on_dask_workers(tmp_path, kind, client):
    result = train(NET, KINDS[kind](tmp_path), workers=2, client=client, **OPTIONS)
    np.testing.assert_allclose(result.theta, serial().theta, rtol=1e-10)


def test_what_is_sent_says_where_the_rows_are(tmp_path):
    big = np.zeros((20_000, 7))  # 1.1 MB
    np.save(tmp_path / "big.npy", big)
    write_shards(tmp_path / "s", [(big, np.zeros(len(big), int))] * 2)
    for source in (NpyRows(tmp_path / "big.npy"), ShardRows(tmp_path / "s", "x")):
        assert source[np.array([19_999, 0])].shape == (2, 7)  # opened, which makes no difference
        assert len(pickle.dumps(source)) < 1000


def test_dask_blocks_that_were_computed_stay_behind(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    source = DaskRows(as_dask(tmp_path)[0])
    before = len(cloudpickle.dumps(source))
    rows = np.array([52, 0, 20, 21, 3])
    np.testing.assert_array_equal(source[rows], X[rows])
    assert len(cloudpickle.dumps(source)) < before + 200  # one block has 1.1 kB or more
    again = pickle.loads(cloudpickle.dumps(source))
    np.testing.assert_array_equal(again[rows], X[rows])


class Counting:
    """Targets that note which rows were read."""

    def __init__(self, array):
        self.array, self.read = array, []
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows):
        self.read.append(np.array(rows))
        return self.array[rows]

    def fingerprint(self):
        return self.array.tobytes()


@pytest.mark.parametrize("plan", [None, BlockShuffle(rows=7, window=3)])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_every_row_once_per_epoch_also_after_a_resume(tmp_path, workers, plan):
    def run(y, **more):
        data = (Counting(X), y)
        return train(
            NET, data if plan is None else InBlocks(data, plan), workers=workers,
            comm="inprocess", timeout=30, **OPTIONS | more,
        )  # fmt: skip

    y = Counting(Y)
    whole = run(y)
    counts = np.bincount(np.concatenate(y.read), minlength=53)
    np.testing.assert_array_equal(counts, 3)
    directory = tmp_path / "run"
    run(Counting(Y), checkpoint=directory, every=8, keep=9)
    y = Counting(Y)
    resumed = run(y, resume=directory / "step-00000008.json")
    assert resumed.digests == whole.digests
    # An epoch has six steps: 33 rows of the second are left, and all of the third.
    counts = np.bincount(np.concatenate(y.read), minlength=53)
    assert counts.sum() == 33 + 53
    assert counts.min() == 1
    assert (counts == 2).sum() == 33


def test_the_block_shuffle_is_a_pure_function_and_keeps_to_its_window():
    plan = BlockShuffle(rows=10, window=3)
    orders = {(s, e): plan.order(95, seed=s, epoch=e) for s in (0, 1) for e in (0, 1)}
    for (s, e), order in orders.items():
        np.testing.assert_array_equal(order, plan.order(95, seed=s, epoch=e))
        np.testing.assert_array_equal(np.sort(order), np.arange(95))
        first = order[:25]  # three blocks have at least 25 rows
        assert len(set(first // 10)) <= 3
        assert (np.diff(first) != 1).any()
    assert len({order.tobytes() for order in orders.values()}) == 4


def test_another_plan_or_other_rows_are_another_training(tmp_path):
    data = as_npy(tmp_path)
    options = {"workers": 2, "comm": "inprocess", "checkpoint": tmp_path / "run", **OPTIONS}
    train(NET, data, **options)
    with pytest.raises(CheckpointMismatch, match="training data"):
        train(NET, InBlocks(data, BlockShuffle(7)), **options)
    np.save(tmp_path / "x.npy", X + 1)
    with pytest.raises(CheckpointMismatch, match="training data"):
        train(NET, data, **options)


# Trains on 1 GB with 200 MB more memory than the imports take; then tries to load it all.
_LIMITED = """
import resource, sys
import numpy as np
from course_lib import SGD, mlp
from course_lib.parallel import BlockShuffle, InBlocks, train

folder = sys.argv[1]
used = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmData" in line)
limit = used * 1024 + 200_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
data = (f"{folder}/x.npy", f"{folder}/y.npy")
if sys.argv[2] == "blocks":
    data = InBlocks(data, BlockShuffle(1000))
net = mlp([2500, 3])
theta = net.init(np.random.default_rng(0), dtype=np.float32)
result = train(net, data, theta=theta, optimizer=SGD(0.1), epochs=1, batch_size=2000, workers=2,
               comm="inprocess")
assert result.replicas_identical
try:
    np.load(f"{folder}/x.npy")
except MemoryError:
    print("does not fit")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's limits")
@pytest.mark.parametrize("order", ["global", "blocks"])
def test_a_source_five_times_as_large_as_the_memory_allowed(tmp_path, root, order):
    # A file with a hole: it takes no room on the disk, and reads as zeros.
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (100_000, 2500)).flush()
    np.save(tmp_path / "y.npy", np.arange(100_000) % 3)
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, tmp_path, order], cwd=root, capture_output=True,
        text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "does not fit"


def test_what_is_wrong_with_a_source_is_said(tmp_path):
    data = as_npy(tmp_path)
    options = {"workers": 2, "comm": "inprocess", "timeout": 30, **OPTIONS}
    with pytest.raises(ValueError, match="is not a directory of shards"):
        train(NET, tmp_path, **options)
    with pytest.raises(ValueError, match="two sources of rows, or two arrays"):
        train(NET, (data[0], Y), **options)
    with pytest.raises(ValueError, match="two sources of rows, or two arrays"):
        train(NET, InBlocks((X, Y), BlockShuffle(7)), **options)
    with pytest.raises(ValueError, match=r"got shapes \(53,\) and \(53, 7\)"):
        train(NET, data[::-1], **options)
    with pytest.raises(ValueError, match="must have 5 columns"):
        train(mlp([5, 3]), data, **options)
    with pytest.raises(FileNotFoundError):
        train(NET, ("missing.npy", data[1]), **options)
    np.save(tmp_path / "y.npy", Y + 5)
    with pytest.raises(RankFailed, match="rows read"):
        train(NET, data, **options)
    with pytest.raises(ValueError, match="BlockShuffle: window must"):
        BlockShuffle(7, window=0)
    with pytest.raises(ValueError, match="expected at least one block"):
        write_shards(tmp_path / "none", [])
    with pytest.raises(ValueError, match="block 1 does not fit"):
        write_shards(tmp_path / "bad", [(X, Y), (X[:, :3], Y)])
    shards = as_shards(tmp_path)
    with pytest.raises(ValueError, match="already holds shards"):
        write_shards(shards, [(X, Y)])


def test_a_dask_array_in_columns_is_refused():
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="along the rows only"):
        DaskRows(da.zeros((8, 4), chunks=(4, 2)))
