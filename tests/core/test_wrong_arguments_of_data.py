"""What users pass by mistake to the data sets, splits, files and checkpoints: a sentence names it.

Every pair of an argument and a wrong value is tried; an error of Python or NumPy itself fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from course_lib import data, mnist
from course_lib.atomic import write_bytes
from course_lib.checkpoint import join_state, latest_valid, load, prepare, save, split_state

NAN, INF = float("nan"), float("inf")
NO_INTEGER = [None, "3", 2.0, NAN, INF, -1, 1j, True, [], [3], np.zeros(2), np.float64(3), object()]
NO_NUMBER = [None, "0.1", NAN, INF, -INF, -1.0, 1j, True, [], [0.1], np.zeros(2), object()]
NO_TYPE = [None, "nonsense", "int64", int, complex, bool, "O", "U", 5, object(), [1], {"a": 1}]
NO_PATH = [None, "", "a\0b", 5, 1.5, True, b"run", ["run"], object()]
NO_DICT = [None, "a", 5, [], [("a", 1)], np.zeros(2), object()]
NO_RNG = [None, 0, "0", np.random, np.random.RandomState(0), object()]
NO_LABELS = [
    None,
    "abc",
    5,
    1j,
    [[0, 1]],
    np.zeros((2, 2)),
    [1j, 2j],
    [object()],
    [[1], [1, 2]],
    {},
]
NO_ARRAY = [
    None, 5, "x", [1.0], np.zeros(2, complex), np.array([None]), np.array(["a"]),
    np.zeros(2, np.longdouble), np.zeros(2, "M8[s]"), np.zeros(2, [("a", float)]),
    np.ma.masked_array([1.0, 2.0], [True, False]),
]  # fmt: skip

Y = np.arange(20) % 2
FILES = {"root": "anywhere"}
SPLIT = {"y": Y, "seed": 0, "test_fraction": 0.5, "where": "stratified"}
BATCHES = {"n": 5, "size": 2, "seed": 0, "epoch": 0}
SAVE = {"directory": "run", "step": 1, "arrays": {}, "meta": {}, "keep": 1}
RNG = np.random.default_rng(0)
TABLE = [
    *[(load_, {}, "seed", NO_INTEGER) for load_ in (data.load_digits, data.load_breast_cancer)],
    *[(load_, {}, "test_fraction", [*NO_NUMBER, 0, 1, 0.0, 1e-9, 1.0, 2])
      for load_ in (data.load_digits, data.load_breast_cancer)],
    *[(load_, {}, "dtype", NO_TYPE) for load_ in (data.load_digits, data.load_breast_cancer)],
    (data.load_mnist, FILES, "root", NO_PATH),
    (data.load_mnist, FILES, "dtype", NO_TYPE),
    (mnist.read, FILES, "root", NO_PATH),
    *[(data.batches, BATCHES, name, NO_INTEGER) for name in BATCHES],
    (data.batches, BATCHES, "n", [0]),
    (data.batches, BATCHES, "size", [0]),
    (data.stratified, SPLIT, "y", NO_LABELS),
    (data.stratified, SPLIT, "seed", NO_INTEGER),
    (data.stratified, SPLIT, "test_fraction", [*NO_NUMBER, 0, 1]),
    *[(data.folds, {"n": 6, "k": 2, "seed": 0}, name, NO_INTEGER) for name in ("n", "k", "seed")],
    (data.folds, {"n": 6, "k": 2, "seed": 0}, "k", [1]),
    (data.two_moons, {"n": 5, "noise": 0.1, "rng": RNG}, "n", [*NO_INTEGER, 1]),
    (data.two_moons, {"n": 5, "noise": 0.1, "rng": RNG}, "noise", NO_NUMBER),
    (data.two_moons, {"n": 5, "noise": 0.1, "rng": RNG}, "rng", NO_RNG),
    (data.spirals, {"n": 5, "rng": RNG}, "n", [*NO_INTEGER, 2]),
    (data.spirals, {"n": 5, "rng": RNG}, "classes", [*NO_INTEGER, 1]),
    (data.spirals, {"n": 5, "rng": RNG}, "noise", NO_NUMBER),
    (data.spirals, {"n": 5, "rng": RNG}, "rng", NO_RNG),
    (save, SAVE, "directory", NO_PATH),
    (save, SAVE, "step", NO_INTEGER),
    (save, SAVE, "keep", [*NO_INTEGER, 0]),
    (save, SAVE, "arrays", [*NO_DICT, {5: np.zeros(2)}, {None: np.zeros(2)}]),
    (save, SAVE, "arrays", [{"a": array} for array in NO_ARRAY]),
    (save, SAVE, "array", [{n: np.zeros(2)} for n in ("__metadata__", "a\ud800", "a\n", "\0")]),
    (save, SAVE, "meta", [{"a": np.zeros(2)}, {"a": 1j}, {"a": {1}}, {"a": object()}, {(1, 2): 3}]),
    (save, SAVE, "meta", [v for v in NO_DICT if v is not None]),
    (load, {"path": "a"}, "path", NO_PATH),
    (latest_valid, {"directory": "a"}, "directory", NO_PATH),
    (prepare, {"directory": "a"}, "directory", NO_PATH),
    (split_state, {"state": {}}, "state", [*NO_DICT, {5: np.zeros(2)}]),
    (join_state, {"arrays": {}, "numbers": {}}, "arrays", [*NO_DICT, {5: np.zeros(2)}]),
    (join_state, {"arrays": {}, "numbers": {}}, "numbers", NO_DICT),
    (write_bytes, {"path": Path("a"), "content": b""}, "path", [None, 5, "a", b"a"]),
    (write_bytes, {"path": Path("a"), "content": b""}, "content", [None, 5, "a", [1], np.zeros(2)]),
    (mnist.parse_idx, {"raw": b"", "name": "raw"}, "raw", [None, 5, "abc", [0, 0, 8], np.zeros(9)]),
]  # fmt: skip
CASES = [
    pytest.param(f, given, name, value, id=f"{f.__name__}-{name}-{str(value)[:20]!r}-{i}")
    for f, given, name, values in TABLE
    for i, value in enumerate(values)
]


@pytest.mark.parametrize(("function", "given", "name", "value"), CASES)
def test_a_wrong_value_is_refused_by_a_sentence_that_names_the_argument(
    function, given, name, value, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = given | {"arrays" if name == "array" else name: value}
    with pytest.raises((ValueError, TypeError)) as e:
        function(**arguments)
    says = str(e.value)
    where = "load_mnist" if function is mnist.read else function.__name__
    assert re.match(rf"{where}: .*\b{name}\b.*\.$", says, re.DOTALL), says
    assert "got" in says or "JSON" in says or "called" in says
    assert len(says) < 300
    assert list(tmp_path.iterdir()) == []  # nothing was begun


GOOD = [
    (data.two_moons, {"n": np.int64(5), "noise": 0, "rng": RNG}),
    (data.two_moons, {"n": 5, "noise": np.float32(0.5), "rng": RNG}),
    (data.batches, {"n": np.uint8(5), "size": 9, "seed": 2**70, "epoch": 0}),
    (data.stratified, SPLIT | {"y": ["a", "b"] * 3}),
    (data.stratified, SPLIT | {"y": [True, False] * 3}),
    (data.load_digits, {"dtype": "float32", "test_fraction": np.float64(0.3)}),
]


@pytest.mark.parametrize(("function", "given"), GOOD)
def test_what_is_unusual_and_right_is_taken(function, given):
    assert function(**given) is not None


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("rare", ["lowest", "middle", "highest"])
def test_no_class_is_ever_missing_where_the_network_learns(fraction, rare):
    """A class of two samples, wherever its label stands in the order, and for every seed."""
    label = {"lowest": -1, "middle": 1, "highest": 9}[rare]
    y = np.append(np.repeat([0, 2], 40), [label] * 2)
    refused = 0
    for seed in range(50):
        try:
            train, test = data.stratified(y, seed=seed, test_fraction=fraction, where="here")
        except ValueError as error:
            assert f"class {label} would have no sample to train on" in str(error)
            refused += 1
            continue
        assert set(y[train]) == {0, 2, label}
        assert sorted([*train, *test]) == list(range(82))
    assert refused == 0 or fraction > 0.5


@pytest.mark.parametrize("label", [-1, 1, 9])
def test_a_class_of_one_sample_is_refused_wherever_its_label_stands(label):
    y = np.append(np.repeat([0, 2], 40), label)
    for seed in range(20):
        with pytest.raises(ValueError, match=f"class {label} has a single sample"):
            data.stratified(y, seed=seed, test_fraction=0.1, where="here")
