"""A word that two trainings have means the same: they say so, and the book shows them together."""

from __future__ import annotations

import importlib
import inspect
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib import mlp
from tests.book.book_files import BOOK, extension

trainings = extension("trainings")
# Where a word may have another default, and why.
OTHER_DEFAULT = {
    "seed": "of fit and fit_torch it must be given: they are shown to beginners, who should see it",
    "theta": "fit goes on from parameters that are there; parallel.train can draw them",
}


@pytest.fixture(scope="module")
def found(root: Path) -> Any:
    return trainings.trainings(root)


@pytest.mark.parametrize("pair", list(combinations(trainings.TRAININGS, 2)), ids=" and ".join)
def test_a_word_that_two_have_means_the_same(found: Any, pair: tuple[str, str]) -> None:
    one, other = (found[name] for name in pair)
    assert set(one) & set(other) >= {"optimizer", "epochs", "batch_size", "seed", "stop"}
    for word in set(one) & set(other):
        meaning = trainings.first_clause(one[word].meaning)
        assert meaning == trainings.first_clause(other[word].meaning) != ""
        assert word in OTHER_DEFAULT or one[word].default == other[word].default


def test_what_is_read_are_the_signatures(found: Any) -> None:
    modules = (
        "course_lib",
        "course_lib.torch_mlp",
        "course_lib.parallel",
        "course_lib.parallel.torch_ddp",
    )
    pytest.importorskip("torch")
    pytest.importorskip("distributed")
    for name, module in zip(found, modules, strict=True):
        function = getattr(importlib.import_module(module), name.rpartition(".")[2])
        parameters = inspect.signature(function).parameters
        assert list(found[name]) == list(parameters)
        for word, parameter in parameters.items():
            given = found[name][word].default
            if not given:
                assert parameter.default is inspect.Parameter.empty
            else:
                assert eval(given) == parameter.default


def test_each_exception_is_one(found: Any) -> None:
    for word in OTHER_DEFAULT:
        assert len({a[word].default for a in found.values() if word in a}) > 1


def test_the_table_has_a_line_per_word(found: Any) -> None:
    lines = trainings.table(BOOK).splitlines()[2:]
    assert {line.split("`")[1] for line in lines} == {word for a in found.values() for word in a}
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        word = cells[0].strip("`")
        assert [cell == "●" for cell in cells[1:5]] == [word in a for a in found.values()]
        assert len(cells[5]) > 5


def test_many_rows_are_answered_as_the_page_says() -> None:
    """Block by block, the same as all at once."""
    pytest.importorskip("distributed")
    array = importlib.import_module("dask.array")
    page = (BOOK / "reference" / "trainings.md").read_text("utf-8")
    code = page[page.index("```python\n") :].split("```")[1].removeprefix("python\n")
    net = mlp([4, 5, 3])
    theta, rows = net.init(np.random.default_rng(0)), np.random.default_rng(1).normal(size=(50, 4))
    names = {"net": net, "theta": theta, "x": array.from_array(rows, chunks=(8, 4))}
    exec(code, names)
    assert names["labels"].tolist() == net.predict(theta, rows).tolist()
