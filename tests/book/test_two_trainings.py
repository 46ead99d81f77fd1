"""The chapter's table of the two trainings names every argument of both, where it belongs."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

from course_lib.parallel import torch_ddp, train


def words(column: list[str]) -> set[str]:
    return {word for cell in column for word in re.findall(r"`(\w+)`", cell)}


def test_the_table_of_the_two_trainings_is_that_of_the_code(root: Path) -> None:
    notebook = json.loads((root / "book/chapters/ddp_on_dask.ipynb").read_text("utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    table = text[text.index("| | both |") :].split("\n\n")[0].splitlines()[2:]
    _, both, ours, theirs = zip(*(line.strip("|").split("|") for line in table), strict=True)
    first, second = (set(inspect.signature(f).parameters) for f in (train, torch_ddp.train))
    assert words(list(both)) == first & second
    assert words(list(ours)) == first - second
    assert words(list(theirs)) == second - first
