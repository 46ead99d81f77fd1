"""What a source takes for its rows, what it leaves to others, and what it never unpacks."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import mlp
from course_lib.data import Split
from course_lib.parallel import BlockShuffle, InBlocks, write_shards
from course_lib.parallel.sources import rows as rows_file
from course_lib.parallel.sources.opened import open_data
from course_lib.parallel.sources.rows import DaskRows, NpyRows, ShardRows

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6) % 3
NET = mlp([2, 3])


def test_arrays_and_splits_are_checked_as_the_serial_fit_does_and_not_shuffled_in_blocks():
    for data in ((X, Y), Split(X, Y, X[:0], Y[:0])):
        x, y = open_data(NET, data)
        assert x.tolist() == X.tolist() and y.tolist() == Y.tolist()
    with pytest.raises(ValueError, match="to shuffle arrays in blocks"):
        open_data(NET, InBlocks((X, Y), BlockShuffle(2)))


def test_one_row_and_one_block_are_the_least_and_four_blocks_are_mixed_unless_said():
    assert BlockShuffle(rows=1, window=1).order(3, seed=0, epoch=0).tolist() in (
        [[a, b, c] for a in range(3) for b in range(3) for c in range(3) if {a, b, c} == {0, 1, 2}]
    )
    assert BlockShuffle(2) == BlockShuffle(2, window=4)
    for rows, window in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
            BlockShuffle(rows, window)


def test_files_are_never_unpickled(tmp_path):
    """A pickle runs what is written in it."""
    unsafe = np.array([{"a": 1}] * 6, object)
    np.save(tmp_path / "x.npy", unsafe, allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        NpyRows(tmp_path / "x.npy")
    folder = tmp_path / "shards"
    write_shards(folder, [(X, Y)])
    np.save(folder / "x-00000.npy", unsafe, allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        ShardRows(folder, "x")[np.array([0])]
    with pytest.raises(TypeError, match="x must hold rows of real numbers, got an array of object"):
        write_shards(tmp_path / "others", [(unsafe[:, None], Y)])


def test_rows_that_were_read_can_be_written_to(tmp_path):
    np.save(tmp_path / "x.npy", X)
    write_shards(tmp_path / "shards", [(X[:4], Y[:4]), (X[4:], Y[4:])])
    for source in (NpyRows(tmp_path / "x.npy"), ShardRows(tmp_path / "shards", "x")):
        for rows in (np.array([5, 0]), slice(3, 6)):
            found = source[rows]
            np.testing.assert_array_equal(found, X[rows])
            found += 1.0
            np.testing.assert_array_equal(source[rows], X[rows])  # and the file is as it was


def test_blocks_are_of_whole_rows_whose_number_is_known():
    array = pytest.importorskip("dask.array").from_array(X, chunks=(3, 2))
    assert DaskRows(array)[np.array([5, 0])].tolist() == [[10.0, 11.0], [0.0, 1.0]]
    unknown = array[array[:, 0] > 3]
    for wrong in (array.rechunk((3, 1)), unknown):
        with pytest.raises(ValueError, match="a known number of rows and be chunked"):
            DaskRows(wrong)


def test_the_last_blocks_that_were_used_are_kept(monkeypatch):
    monkeypatch.setattr(rows_file, "KEPT", 2)
    made = []

    def block(number):
        made.append(number)
        return X[2 * number : 2 * number + 2]

    delayed = pytest.importorskip("dask").delayed(block, pure=False)
    array = pytest.importorskip("dask.array")
    parts = [array.from_delayed(delayed(n), (2, 2), float) for n in range(3)]
    source = DaskRows(array.concatenate(parts))
    for row in (0, 2, 1, 4, 0, 2):  # of the blocks 0, 1, 0, 2, 0, 1
        assert source[np.array([row])].tolist() == [X[row].tolist()]
    assert made == [0, 1, 2, 1]  # 1 had not been used for longer than 0
