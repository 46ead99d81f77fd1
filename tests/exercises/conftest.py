"""What the tests of the exercises of all chapters share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from course_lib import exercises


@pytest.fixture
def told_apart() -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Check that each wrong answer gets the verdict that is its key, with a hint of its own."""

    checked = []

    def check(name: str, wrong: Mapping[str, Any]) -> None:
        verdicts = {key: exercises.find(name).judge(answer) for key, answer in wrong.items()}
        assert {key: verdict.mistake for key, verdict in verdicts.items()} == {k: k for k in wrong}
        hints = {verdict.hint for verdict in verdicts.values()}
        assert len(hints) == len(wrong) >= 2
        assert all(hint.strip() for hint in hints)
        again = {key: exercises.find(name).judge(answer) for key, answer in wrong.items()}
        assert again == verdicts  # what is said about an answer does not depend on chance
        checked.append(name)

    yield check
    assert checked, "told_apart was asked for and not called"
