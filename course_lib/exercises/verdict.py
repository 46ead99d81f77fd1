"""What is said about an answer: that it is right, or the name of the mistake and a hint.

Chapter: none; this file serves the exercises of all chapters.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

NOT_YET = "not-yet"
"""The name of the only mistake that is none: there is no answer so far."""


class Mistake(Exception):
    """What a checker raises: the name of what was done wrong, and a hint.

    Parameters
    ----------
    name : str
        What was done wrong, in small letters with hyphens: ``"alpha-ignored"``.
    hint : str
        One or two sentences that help, without giving the solution away.

    Examples
    --------
    >>> Mistake("alpha-ignored", "Multiply the left branch by alpha.").name
    'alpha-ignored'
    """

    def __init__(self, name: str, hint: str) -> None:
        super().__init__(f"{name}: {hint}")
        self.name = name
        self.hint = hint


@dataclass(frozen=True)
class Verdict:
    """What came out of a check; true if the answer passed.

    Parameters
    ----------
    name : str
        The exercise.
    passed : bool
        Whether the answer is right.
    mistake : str or None
        The name of what was done wrong; None if nothing was.
    hint : str
        What to look at; empty if nothing is wrong.

    Examples
    --------
    >>> print(Verdict("activations.elu", False, "alpha-ignored", "Where does alpha come in?"))
    activations.elu: alpha-ignored
      Hint: Where does alpha come in?
    """

    name: str
    passed: bool
    mistake: str | None = None
    hint: str = ""

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: passed"
        if self.mistake == NOT_YET:
            return f"{self.name}: not yet ({self.hint}, then run this cell again)"
        hint = textwrap.fill(self.hint, 88, initial_indent="  Hint: ", subsequent_indent=" " * 8)
        return f"{self.name}: {self.mistake}\n{hint}"

    def _ipython_display_(self) -> None:
        """Show nothing at the end of a cell: ``check`` has printed it already."""
