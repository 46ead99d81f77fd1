"""Whatever data lie in, training and validation data alike: the training of arrays, or a sentence.

The oracle is the training on arrays in memory.
"""

from __future__ import annotations

import json
import os
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from course_lib import Adam, data, mlp
from course_lib.parallel import BlockShuffle, InBlocks, train, write_shards
from course_lib.parallel.errors import CheckpointMismatch, RankFailed
from course_lib.parallel.sources import DaskRows, NpyRows, ShardRows, order_of

pytestmark = pytest.mark.timeout(100)

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(53, 7)), RNG.integers(0, 3, 53)
XV, YV = RNG.normal(size=(23, 7)), RNG.integers(0, 3, 23)
NET = mlp([7, 6, 3], hidden="tanh")
CUTS = [0, 20, 21, 50]


def go(given, validation=None, **options):
    options = {"workers": 2, "comm": "inprocess", "timeout": 30} | options
    settings = {"optimizer": Adam(0.01), "epochs": 2, "batch_size": 10, "seed": 5}
    return train(NET, given, validation=validation, **settings | options)


def as_npy(folder, x, y):
    for name, array in (("x", x), ("y", y)):
        np.save(folder / f"{name}.npy", array)
    return str(folder / "x.npy"), folder / "y.npy"


def as_shards(folder, x, y):
    cuts = [*(c for c in CUTS if c < len(x)), len(x)]
    blocks = [(x[a:b], y[a:b]) for a, b in pairwise(cuts)]
    write_shards(folder / "shards", blocks)
    return folder / "shards"


def as_dask(folder, x, y):
    da = pytest.importorskip("dask.array")
    return da.from_array(x, chunks=(9, x.shape[1])), da.from_array(y, chunks=9)


def as_torch(folder, x, y):
    torch = pytest.importorskip("torch")
    return torch.tensor(x, requires_grad=True), torch.tensor(y)


KINDS = {
    "npy": as_npy,
    "shards": as_shards,
    "dask": as_dask,
    "lists": lambda folder, x, y: [x.tolist(), y.tolist()],
    "torch": as_torch,
    "Fortran": lambda folder, x, y: (np.asfortranarray(x), y.astype(np.uint8)),
    "not contiguous": lambda folder, x, y: (np.repeat(x, 2, 0)[::2], np.repeat(y, 2)[::2]),
    "read-only": lambda folder, x, y: tuple(np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)
                                            for a in (x, y)),
    "big-endian": lambda folder, x, y: (x.astype(">f8"), y.astype(">i4")),
    "split": lambda folder, x, y: data.Split(x, y, x, y),
}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_validates_as_arrays_do(tmp_path, kind, workers):
    (tmp_path / "v").mkdir()
    expected = go((X, Y), (XV, YV), workers=workers)
    found = go(KINDS[kind](tmp_path, X, Y), KINDS[kind](tmp_path / "v", XV, YV), workers=workers)
    assert found.digests == expected.digests
    assert found.history == expected.history


@pytest.mark.parametrize("kind", ["npy", "shards", "dask"])
def test_on_dask_workers_too(tmp_path, kind, client):
    (tmp_path / "v").mkdir()
    given = KINDS[kind](tmp_path, X, Y), KINDS[kind](tmp_path / "v", XV, YV)
    found, expected = go(*given, client=client, comm="auto"), go((X, Y), (XV, YV))
    np.testing.assert_allclose(found.theta, expected.theta, rtol=1e-10)
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-10)


def test_of_a_split_the_testing_part_is_held_out():
    split = data.Split(X, Y, XV, YV)
    assert go(split, split).history == go((X, Y), (XV, YV)).history


def test_relative_paths_are_those_of_the_driver(tmp_path, monkeypatch, client):
    as_npy(tmp_path, X, Y)
    as_shards(tmp_path, X, Y)
    monkeypatch.chdir(tmp_path)
    for given in (("x.npy", "y.npy"), "shards", Path("shards")):
        found = go(given, given, client=client, comm="auto")
        assert found.digests == go((X, Y), client=client, comm="auto").digests


@pytest.mark.parametrize("kind", ["npy", "shards", "dask"])
@pytest.mark.parametrize("rows", [np.array([52, 0, 20, 20]), slice(18, 23), slice(50, 99)])
def test_rows_that_are_read_are_the_callers(tmp_path, kind, rows):
    given = KINDS[kind](tmp_path, X, Y)
    sources = {
        "npy": lambda: (NpyRows(given[0]), NpyRows(given[1])),
        "shards": lambda: (ShardRows(given, "x"), ShardRows(given, "y")),
        "dask": lambda: (DaskRows(given[0]), DaskRows(given[1])),
    }[kind]()
    for source, array in zip(sources, (X, Y), strict=True):
        for _ in range(2):
            found = source[rows]
            np.testing.assert_array_equal(found, array[rows])
            found[...] = 0  # written over, and read again


@pytest.mark.parametrize("kind", ["npy", "shards"])
@pytest.mark.parametrize("row", [0, 7, 52])
def test_files_that_were_written_again_are_other_data(tmp_path, kind, row):
    """Also where the row that has changed is none of those that are compared."""
    rows = np.repeat(np.arange(53), 100)  # more than are compared
    x, y = X[rows], Y[rows]
    given = KINDS[kind](tmp_path, x, y)
    options = {"checkpoint": tmp_path / "run", "batch_size": 1000}
    go(given, **options)
    go(given, **options)
    times = {path: path.stat() for path in tmp_path.rglob("*.npy")}
    x[100 * row + 3] += 1
    for path in times:
        path.unlink()
    (tmp_path / "shards" / "shards.json").unlink(missing_ok=True)
    KINDS[kind](tmp_path, x, y)
    with pytest.raises(CheckpointMismatch, match="its training data is"):
        go(given, **options)


def test_other_blocks_of_a_dask_array_are_other_data(tmp_path):
    go(as_dask(tmp_path, X, Y), checkpoint=tmp_path)
    go(as_dask(tmp_path, X, Y), checkpoint=tmp_path)
    for row in (0, 26, 52):  # first, middle and last block
        x = X.copy()
        x[row] += 1
        with pytest.raises(CheckpointMismatch, match="its training data is"):
            go(as_dask(tmp_path, x, Y), checkpoint=tmp_path)


@pytest.mark.parametrize("blocks", [8, 9])
def test_who_shuffles_all_blocks_of_a_dask_array_is_warned_once(tmp_path, blocks):
    da = pytest.importorskip("dask.array")
    rows = -(-53 // blocks)
    given = da.from_array(X, chunks=(rows, 7)), da.from_array(Y, chunks=rows)
    assert len(given[0].chunks[0]) == blocks
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(given)
        go(InBlocks(given, BlockShuffle(rows)))
        go((X, Y), given)
    assert len(caught) == (blocks > 8)
    np.save(tmp_path / "x.npy", X)
    with warnings.catch_warnings(record=True) as mixed:
        warnings.simplefilter("always")
        go((tmp_path / "x.npy", given[1]))
    assert len(mixed) == len(caught)
    for warning in caught:
        assert f"the {blocks} blocks of a dask.array, of which 8 are kept" in str(warning.message)
        assert f"InBlocks(data, BlockShuffle({rows}))" in str(warning.message)
        assert warning.category is RuntimeWarning
        assert warning.filename == __file__


def test_of_the_blocks_that_were_computed_those_used_last_are_kept():
    dask, da = pytest.importorskip("dask"), pytest.importorskip("dask.array")
    computed = []

    def block(number):
        computed.append(number)
        return np.full((2, 1), float(number))

    parts = [da.from_delayed(dask.delayed(block)(i), (2, 1), float) for i in range(10)]
    rows = DaskRows(da.concatenate(parts))
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 0, 8, 0, 9, 0, 8, 2):
        assert rows[np.array([2 * number])].item() == number
    assert computed == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2]  # eight are kept: 1 and 2 have gone


def test_a_persisted_dask_array_is_refused_by_a_sentence(client):
    x, y = as_dask(None, X, Y)
    x, y = client.persist([x, y])
    for given in ((x, y), (x + 1, y)):
        with pytest.raises(ValueError, match=r"train: a dask.array .* persisted .*compute\(\)"):
            go(given, client=client, comm="auto")
        with pytest.raises(ValueError, match="persisted"):
            go((X, Y), given)


SPARSE = ["csr_matrix", "csr_array", "coo_matrix"]


@pytest.mark.parametrize("kind", SPARSE)
def test_a_sparse_matrix_is_refused_by_a_sentence(kind):
    sparse = getattr(pytest.importorskip("scipy.sparse"), kind)(X)
    with pytest.raises(TypeError, match=rf"^train: a sparse matrix \({kind}\).*x\.toarray\(\)"):
        go((sparse, Y))
    with pytest.raises(TypeError, match=r"^train, validation: a sparse matrix"):
        go((X, Y), (sparse, Y))


def test_a_tensor_of_a_type_that_numpy_lacks_is_refused_by_a_sentence():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"NumPy has no torch\.bfloat16; give tensor\.float\(\)"):
        go((torch.tensor(X).bfloat16(), Y))


# Data, and what the sentence says of them after "train: " or "train, validation: ".
WRONG = {
    "None": (lambda folder: None, "data must be a pair (x, y), got None"),
    "number": (lambda folder: 5, "data must be a pair (x, y), got 5"),
    "array": (lambda folder: X, "data must be a pair (x, y), got an array"),
    "three": (lambda folder: (X, Y, Y), "data must be a pair (x, y), got"),
    "no inputs": (lambda folder: (None, Y), "x must hold real numbers, got None"),
    "no targets": (
        lambda folder: (X, None),
        "y must have as many rows as x, which has 53",
    ),
    "complex": (lambda folder: (X + 1j, Y), "x must hold real numbers, got an array of complex128"),
    "complex targets": (lambda folder: (X, Y + 0j), "class labels must be integers"),
    "objects": (lambda folder: (X.astype(object), Y), "x must hold real numbers"),
    "text": (lambda folder: (X.astype(str), Y), "x must hold real numbers"),
    "text labels": (lambda folder: (X, Y.astype(str)), "class labels must be integers"),
    "all -1": (
        lambda folder: (X, np.full(53, -1)),
        "labels must lie in 0..2 for 3 outputs",
    ),
    "NaN": (lambda folder: (np.where(X > 2, np.nan, X), Y), "x must be finite, got nan at row"),
    "infinite": (
        lambda folder: (np.where(X > 2, np.inf, X), Y),
        "x must be finite, got inf at row",
    ),
    "no rows": (lambda folder: (X[:0], Y[:0]), "x must have at least one row"),
    "one row": (lambda folder: (X[0], Y[:1]), "x must be 2-D"),
    "columns": (lambda folder: (X[:, :5], Y), "x must have 7 columns"),
    "lengths": (
        lambda folder: (X, Y[:-1]),
        "as x, which has 53, got shape (52,)",
    ),
    "uneven": (lambda folder: ([[1.0], [1.0, 2.0]], [0, 1]), "x must be an array"),
    "mixed": (lambda folder: (as_npy(folder, X, Y)[0], Y), "must be two sources of rows"),
    "npy, complex": (lambda folder: as_npy(folder, X + 1j, Y), "x must hold real numbers"),
    "npy, text": (lambda folder: as_npy(folder, X.astype(str), Y), "x must hold real numbers"),
    "npy, one number": (lambda folder: as_npy(folder, X, np.array(3)), "of n targets"),
    "npy, turned": (lambda folder: as_npy(folder, X.T, Y), "of n targets"),
    "npy, no rows": (lambda folder: as_npy(folder, X[:0], Y[:0]), "n at least 1, got shapes"),
    "npy, columns": (lambda folder: as_npy(folder, X[:, :5], Y), "x must have 7 columns"),
    "dask, complex": (lambda folder: as_dask(folder, X + 1j, Y), "x must hold real numbers"),
    "empty path": (lambda folder: "", "the path of shards must be the path of a file or folder"),
    "empty paths": (lambda folder: ("", ""), "the path of a .npy file must be the path of a file"),
    "no UTF-8": (lambda folder: ("\udcff.npy",) * 2, "must have a name in UTF-8"),
    "no shards": (lambda folder: folder, "is not a directory of shards (FileNotFoundError"),
    "missing": (lambda folder: (folder / "x.npy",) * 2, "x.npy does not exist; each worker must"),
    "a folder": (lambda folder: (folder, folder), "must be a .npy file of numbers"),
}


@pytest.mark.parametrize("place", ["data", "validation"])
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_data_are_refused_by_a_sentence(tmp_path, kind, place):
    make, says = WRONG[kind]
    if kind == "None" and place == "validation":
        return  # that is none
    given = (make(tmp_path),) if place == "data" else ((X, Y), make(tmp_path))
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as e:
        go(*given)
    assert says in str(e.value)
    assert str(e.value).startswith("train")


def pickled(path):
    np.save(path, np.array([{}]), allow_pickle=True)


CONTENTS = {
    "nothing": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("x, y\n1, 2\n"),
    "cut off": lambda path: (np.save(path, X), os.truncate(path, path.stat().st_size - 8)),
    "cut in the header": lambda path: (np.save(path, X), os.truncate(path, 30)),
    "pickled": pickled,
    "npz": lambda path: np.savez(path.open("wb"), x=X),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_file_that_is_no_npy_file_is_named(tmp_path, kind):
    given = as_npy(tmp_path, X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        CONTENTS[kind](Path(given[0]))
        with pytest.raises(ValueError, match=r"^train: .*x\.npy must be a \.npy file of numbers"):
            go(given)


@pytest.mark.parametrize("field", ["rows", "x", "y"])
@pytest.mark.parametrize(
    "value",
    [None, True, 5, "x", [], [None], ["a"], [[]], [1.5], [-3], {}, [[7], "O"], [[7], "nonsense"],
     [[-7], "<f8"], [["a"], "<f8"], [7, "<f8"], [[7], "<c16"], [2**70]],
)  # fmt: skip
def test_a_manifest_of_shards_with_a_wrong_field_is_refused(tmp_path, field, value):
    path = as_shards(tmp_path, X, Y) / "shards.json"
    said = json.loads(path.read_text())
    for facts in ({**said, field: value}, {k: v for k, v in said.items() if k != field}):
        path.write_text(json.dumps(facts))
        with pytest.raises(ValueError, match=r"shards is not a directory of shards .*write_shards"):
            go(path.parent)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "7", "\x00", "null"])
def test_a_manifest_of_shards_that_is_none_is_refused(tmp_path, text):
    path = as_shards(tmp_path, X, Y) / "shards.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a directory of shards"):
        go(path.parent)


@pytest.mark.parametrize("change", ["dtype", "shape", "fewer rows", "complex", "gone"])
def test_a_shard_that_is_not_what_the_manifest_says_is_named(tmp_path, change):
    path = as_shards(tmp_path, X, Y) / "x-00001.npy"
    array = np.load(path)
    path.unlink()
    changed = {
        "dtype": array.astype(np.float32), "shape": array[:, :5], "fewer rows": array[:0],
        "complex": array + 1j,
    }  # fmt: skip
    if change != "gone":
        np.save(path, changed[change])
    with pytest.raises(RankFailed, match=r"x-00001\.npy (holds .*\.json says|does not exist)"):
        go(path.parents[0])


@pytest.mark.parametrize("kind", ["complex", "shape", "fraction for a label"])
def test_a_block_of_a_dask_array_that_is_not_what_it_says_is_refused(kind):
    dask, da = pytest.importorskip("dask"), pytest.importorskip("dask.array")
    x = da.from_array(X, chunks=(20, 7))
    wrong = {"complex": X[:20] + 1j, "shape": X[:19], "fraction for a label": X[:20]}[kind]
    wanted = int if kind == "fraction for a label" else float
    block = da.from_delayed(dask.delayed(wrong), (20, 7), wanted)
    with pytest.raises(ValueError, match=r"block 0 of a dask\.array says that .* and holds"):
        DaskRows(da.concatenate([block, x.astype(wanted)]))[np.array([0])]


@pytest.mark.parametrize("value", [None, "", 5, True, b"x", X, ["x.npy"], "a\0b"])
def test_files_of_rows_have_paths(tmp_path, value):
    with pytest.raises((TypeError, ValueError), match="^train: the path of a .npy file must"):
        NpyRows(value)
    with pytest.raises((TypeError, ValueError), match="^train: the path of shards must be"):
        ShardRows(value, "x")
    with pytest.raises((TypeError, ValueError), match="^write_shards: directory must be"):
        write_shards(value, [(X, Y)])


@pytest.mark.parametrize("name", [None, 5, "", "z", "rows", ["x"]])
def test_shards_have_two_parts(tmp_path, name):
    with pytest.raises((TypeError, ValueError), match="part of shards"):
        ShardRows(as_shards(tmp_path, X, Y), name)


@pytest.mark.parametrize("value", [None, 5, X, "x.npy", [1]])
def test_rows_of_dask_are_of_a_dask_array(value):
    with pytest.raises(TypeError, match="expected a dask.array with rows, got"):
        DaskRows(value)


def test_a_dask_array_of_one_number_or_of_unknown_rows_is_refused():
    da = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match="expected a dask.array with rows"):
        DaskRows(da.from_array(np.array(3.0)))
    x = da.from_array(X, chunks=(20, 7))
    with pytest.raises(ValueError, match="known number of rows"):
        DaskRows(x[x[:, 0] > 0])


BLOCKS = {
    "no blocks": (None, "blocks must be pairs"),
    "number": (5, "blocks must be pairs"),
    "text": ("ab", "block 0: it must be a pair (x, y), got 'a'"),
    "one array": (X, "block 0: it must be a pair"),
    "three": ([(X, Y, Y)], "block 0: it must be a pair"),
    "complex": ([(X + 1j, Y)], "block 0: x must hold rows of real numbers"),
    "objects": ([(X.astype(object), Y)], "block 0: x must hold rows of real numbers"),
    "text labels": ([(X, Y), (X, Y.astype(str))], "block 1: y must hold rows of real numbers"),
    "nothing": ([(None, Y)], "block 0: x must hold rows of real numbers"),
    "one number": ([(X, 5)], "block 0: y must hold rows of real numbers"),
    "uneven": ([([[1.0], [1.0, 2.0]], [0, 1])], "block 0: x must be an array"),
    "lengths": ([(X, Y[:-1])], "block 0 does not fit"),
    "columns": ([(X, Y), (X[:, :5], Y)], "block 1 does not fit"),
    "types": ([(X, Y), (X.astype(np.float32), Y)], "block 1 does not fit"),
    "none": ([], "expected at least one block"),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_wrong_blocks_are_refused_by_a_sentence_and_are_no_shards(tmp_path, kind):
    blocks, says = BLOCKS[kind]
    with pytest.raises((ValueError, TypeError)) as e:
        write_shards(tmp_path, blocks)
    assert str(e.value).startswith("write_shards")
    assert says in str(e.value)
    assert not (tmp_path / "shards.json").exists()


@pytest.mark.parametrize("name", ["x-00000.npy", "y-00001.npy", "shards.json"])
def test_a_link_that_somebody_has_put_there_is_not_followed(tmp_path, name):
    folder, mine = tmp_path / "shards", tmp_path / "mine"
    folder.mkdir()
    (folder / name).symlink_to(mine)
    if name != "shards.json":
        mine.write_text("mine")
    as_shards(tmp_path, X, Y)
    if name == "shards.json":
        assert not mine.exists()
    else:
        assert mine.read_text() == "mine"
    assert not (folder / name).is_symlink()
    assert go(folder).digests == go((X, Y)).digests


def test_a_folder_for_shards_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^write_shards: .*file cannot be written to \(.*\)\.$"):
        write_shards(tmp_path / "file", [(X, Y)])
    (tmp_path / "shards" / "y-00001.npy").mkdir(parents=True)
    with pytest.raises(OSError, match=r"^write_shards: .*shards cannot be written to \(.*\)\.$"):
        write_shards(tmp_path / "shards", [(X, Y), (X, Y)])
    assert not (tmp_path / "shards" / "shards.json").exists()


def test_what_the_maker_of_blocks_raises_is_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="mine"):
        write_shards(tmp_path, (np.load(tmp_path / name) for name in ("mine",)))


NO_INTEGER = [None, "3", 2.0, float("nan"), -1, True, [3]]


@pytest.mark.parametrize("value", NO_INTEGER)
def test_a_shuffle_of_blocks_takes_integers(value):
    plan = BlockShuffle(2)
    for name in ("rows", "window"):
        with pytest.raises((TypeError, ValueError), match=f"BlockShuffle: {name} must be an int"):
            BlockShuffle(**{"rows": 2, name: value})
    for name in ("n", "seed", "epoch"):
        with pytest.raises((TypeError, ValueError), match=f"BlockShuffle: {name} must be an int"):
            plan.order(**{"n": 5, "seed": 0, "epoch": 0, name: value})
    for given in (X, InBlocksOf(plan)):
        with pytest.raises((TypeError, ValueError), match="batches: size must be an integer"):
            order_of(given, value, seed=0, epoch=0)
    with pytest.raises(TypeError, match="InBlocks: plan must be a BlockShuffle, got"):
        InBlocks((X, Y), value)


class InBlocksOf(list):
    """Five rows with a plan."""

    def __init__(self, plan):
        super().__init__(range(5))
        self.plan = plan
