"""The committed result of the soak: all strategies, all channels, a hundred faults, no failure."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from course_lib.parallel.channels import CHANNELS
from course_lib.parallel.strategies.table import STRATEGIES
from tests.book.book_files import extension
from tools.soak.plan import FAULTS

soak = extension("soak")

FINE = {"same bits", "error, then same bits"}
# What the last run found, and the page tells: ports that torch_ddp kept, and parameters that
# were not numbers in a checkpoint. Both are mended.
FOUND = {51: "leak", 99: "wrong error"}


@pytest.fixture(scope="module")
def book(root: Path) -> Path:
    return root / "book"


@pytest.fixture(scope="module")
def made(book: Path) -> list[dict]:
    return [job for job in soak.load(book)["jobs"] if job["verdict"] != "no fault"]


def test_a_hundred_faults_and_no_failure_but_those_told(made):
    assert len(made) >= 100
    assert {job["number"]: job["verdict"] for job in made if job["verdict"] not in FINE} == FOUND


def test_nothing_is_left_out(book, made):
    assert soak.load(book)["left_out"] == []
    assert {job["fault"] for job in made} == set(FAULTS)
    met = {job["program"].partition(":")[0] for job in made}
    assert met >= set(STRATEGIES) | {"ddp", "search", "mesh"}
    assert {job["channel"] for job in made} >= set(CHANNELS) - {"nccl"}


def test_the_page_counts_what_the_file_says(book, made):
    count = Counter(job["fault"] for job in made)
    found = {
        cells[1].strip(): int(cells[3])
        for cells in (line.split("|") for line in soak.by_fault(book).splitlines()[2:])
    }
    assert found == {name: count[name] for name in FAULTS}
    assert f"**{len(made)} faults**" in soak.summary(book)
    for table in (soak.by_program(book), soak.by_channel(book)):
        cells = [cell for line in table.splitlines()[2:] for cell in line.split("|")[2:-1]]
        assert sum(int(cell) for cell in cells if cell.strip()) == len(made)


def test_no_path_and_no_name_of_a_machine_is_in_the_file(book):
    text = (book / "reference" / "soak.json").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
