"""The command line: ``course-lib train|predict|search|bench|progress|grade|doctor``.

    course-lib train --data digits --sizes 64,32,10 --optimizer adam --lr 0.01 --workers 2
    course-lib train --data digits --save digits.safetensors
    course-lib predict digits.safetensors --data digits --out answers.npz
    course-lib search --data digits --method halving --try lr=1e-4:1e-1:log --try width=16,32,64
    course-lib bench --workers 4
    course-lib progress
    course-lib grade activations.ipynb
    course-lib doctor

What is asked for goes to the standard output, as text or with ``--json`` as one line of JSON; what
happens meanwhile (the dashboard's address, a progress bar) and every complaint to the standard
error. The exit code is 0 if all went well, 1 if a run failed, 2 if an argument is wrong and 130
if it was interrupted. It is written with the standard library's argparse, so that installing the
package brings no more than NumPy needs.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from course_lib.cli.bench import add_bench
from course_lib.cli.doctor import add_doctor
from course_lib.cli.grade import add_grade
from course_lib.cli.output import complain, say
from course_lib.cli.predict import add_predict
from course_lib.cli.progress import add_progress
from course_lib.cli.search import add_search
from course_lib.cli.train import add_train

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit codes; 0 is success."""

# What a file or a folder that was named cannot be used for.
_PLACES = (
    FileNotFoundError, PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError,
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """One that says what is wrong with an argument, without listing all others."""

    def error(self, message: str) -> NoReturn:
        """Complain and end."""
        complain(f"{self.prog}: {message}\nSee {self.prog} --help.")
        self.exit(WRONG)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Examples
    --------
    >>> parser().parse_args(["train", "--workers", "1:4"]).workers
    (1, 4)
    """
    from course_lib import __version__

    top = _Parser(
        prog="course-lib", description="Train neural networks, on one machine or on a Dask cluster."
    )
    top.add_argument("--version", action="version", version=f"course-lib {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_train, add_predict, add_search, add_bench, add_progress, add_grade, add_doctor,
    ):  # fmt: skip
        add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default the one of this process; return the exit code.

    Examples
    --------
    >>> main(["bench", "--comm", "inprocess", "--workers", "1", "--seconds", "soon"])
    2
    """
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    try:
        say(options.run(options))
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has gone, and knows it
        return FAILED
    except (ValueError, TypeError, ImportError) as error:
        return _complain(str(error), WRONG)
    except MemoryError as error:
        return _complain(f"too large for the memory: {error}.", FAILED)
    except _PLACES as error:
        named = (
            f"{error.filename}: {str(error.strerror).lower()}; choose another place, or mend it."
        )
        return _complain(named if error.filename else str(error), WRONG)
    except (RuntimeError, ArithmeticError, OSError) as error:
        return _complain(str(error), FAILED, *getattr(error, "__notes__", ()))
    return 0


def _complain(message: str, code: int, *notes: str) -> int:
    complain("\n".join([f"course-lib: {message}", *notes]))
    return code
