"""The page of bugs planted on purpose: its numbers fit together, nothing is left unexplained."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from tests.book.book_files import BOOK, extension


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """The extension that writes it."""
    return extension("mutation")


def test_every_file_with_a_function_is_in_the_table(page: ModuleType, root: Path) -> None:
    def works(path: Path) -> bool:
        tree = ast.parse(path.read_text("utf-8"))
        return any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))

    found = {
        path.relative_to(root).as_posix()
        for path in (root / "course_lib").rglob("*.py")
        if works(path)
    }
    assert found - set(page.load(BOOK)["files"]) == set()


def test_those_that_lived_are_all_listed_with_a_reason(page: ModuleType) -> None:
    data = page.load(BOOK)
    left = {file: n["tried"] - n["killed"] for file, n in data["files"].items()}
    listed = dict.fromkeys(left, 0)
    for survivor in data["survivors"]:
        listed[survivor["file"]] += 1
        assert len(survivor["reason"].split()) > 2, survivor
    assert listed == left
    assert all(n["tried"] <= n["places"] for n in data["files"].values())


def test_nine_of_ten_are_found_in_every_folder(page: ModuleType) -> None:
    for folder, row in page.folders(page.load(BOOK)).items():
        assert row["first"] <= row["killed"] <= row["tried"] - row["equivalent"], folder
        assert row["killed"] >= 0.9 * (row["tried"] - row["equivalent"]), folder


@pytest.mark.parametrize(
    ("killed", "n", "low", "high"),
    # Newcombe 1998, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(
    page: ModuleType, killed: int, n: int, low: float, high: float
) -> None:
    assert page.interval(killed, n) == pytest.approx((low, high), abs=5e-5)
    assert page.interval(n - killed, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_a_survivor_is_shown_as_it_is_but_for_what_only_tools_read(page: ModuleType) -> None:
    survivor = {
        "file": "course_lib/a.py", "reason": "equivalent",
        "before": "x = f(1)  # fmt: skip", "after": "x = f(2)  # type: ignore[arg-type]",
    }  # fmt: skip
    assert "  x = f(1)\n  x = f(2)\n" in page._survivor(survivor)
    assert "a  # b" in page._survivor(survivor | {"before": "a  # b"})
