"""What tells two trainings apart: every row counts, and what a function does, not where it lies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.activations import Activation, relu, tanh
from course_lib.parallel.fingerprints import digest, words
from course_lib.schedules import cosine, warmup

N = 10_000


@pytest.mark.parametrize("row", [0, 1, 4095, 4096, 5001, N - 1])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "float32", "labels"])
def test_every_row_counts_and_the_layout_in_memory_does_not(row, layout):
    x = np.random.default_rng(0).normal(size=(N, 3)).astype("f4" if layout == "float32" else "f8")
    x = np.arange(N) % 7 if layout == "labels" else x
    other = np.asfortranarray(x) if layout == "F" else np.repeat(x, 2, axis=0)[::2]
    assert digest(other) == digest(x)
    changed = x.copy()
    changed[row] += 1
    assert digest(changed) != digest(x)


def test_shape_type_and_which_array_is_which_count():
    x, y = np.zeros((4, 3)), np.ones((4, 3))
    found = {
        digest(x, y), digest(y, x), digest(x), digest(x.reshape(3, 4)),
        digest(x.astype(np.int64)), digest(x[:0]), digest(np.zeros(())),
    }  # fmt: skip
    assert len(found) == 7
    assert digest(x, y).startswith("(4, 3) and (4, 3), sha256 ")


def closing_over(rate):
    return lambda t: rate


def with_default(rate):
    return lambda t, rate=rate: rate


def with_keyword(rate):
    return lambda t, *, rate=rate: rate


def nested(rate):
    return eval(f"lambda t: (lambda: {rate})()")


def late(boundary):
    return lambda t: 0.1 if t < boundary else 0.01


class Plain:
    """A schedule whose repr says nothing."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, t):
        return 0.1 if t < 1 else self.rate

    def method(self, t):
        return 0.1 if t != 3 else self.rate


class Quiet(Plain):
    def __repr__(self):
        return "Quiet()"


@dataclass(frozen=True)
class Secret:
    rate: float = field(repr=False)

    def __call__(self, t):
        return 0.1


class Table:
    """Ends after two steps."""

    def __init__(self, *rates):
        self._rates = rates

    def __call__(self, t):
        return self._rates[t]


KINDS = {
    "constant": lambda v: eval(f"lambda t: {v}"),
    "closure": closing_over,
    "default": with_default,
    "keyword default": with_keyword,
    "a function inside": nested,
    "later than the steps asked": lambda v: late(5000 + int(1000 * v)),
    "partial": lambda v: partial(lambda rate, t: rate, v),
    "object": Plain,
    "object with a repr": Quiet,
    "method": lambda v: Plain(v).method,
    "dataclass": Secret,
    "list of rates": lambda v: Table(0.5, v),
    "in a schedule": lambda v: warmup(closing_over(v), steps=3),
    "schedule": lambda v: cosine(v, 10),
    "number": lambda v: v,
}


@pytest.mark.parametrize("kind", KINDS)
def test_optimizers_with_other_schedules_differ_and_with_equal_ones_do_not(kind):
    make = KINDS[kind]
    first, again, other = (words(SGD(make(v))) for v in (0.1, 0.1, 0.2))
    assert first == again
    assert first != other
    assert " at 0x" not in first


def test_a_global_that_a_schedule_reads_counts_by_its_values():
    space = {"RATE": 0.1}
    schedule = eval("lambda t: RATE if t == 1024 else 0.5", space)
    before = words(SGD(schedule))
    space["RATE"] = 0.2
    assert words(SGD(schedule)) != before


def test_networks_with_other_functions_of_the_same_name_differ():
    nets = [
        mlp([2, 3, 2], hidden=Activation("mine", f, df))
        for f, df in (
            (relu.f, relu.df), (tanh.f, tanh.df), (relu.f, tanh.df),
            (lambda z, out=None: z * 2, relu.df), (lambda z, out=None: z * 3, relu.df),
            (lambda z, out=None: z + 2, relu.df), (lambda z, out=None: np.exp(z), relu.df),
            (lambda z, out=None: np.sin(z), relu.df),
            (lambda z, out=None: (lambda: z * 2)(), relu.df),
            (lambda z, out=None: (lambda: z * 3)(), relu.df),
        )
    ]  # fmt: skip
    assert len({words(net) for net in nets}) == len(nets)


def test_arrays_count_by_all_of_their_numbers():
    big = np.zeros(5000)
    assert words([big]) != words([np.where(np.arange(5000) == 2500, 1.0, big)])


def test_circles_end():
    thing = Plain(0.1)
    thing.me = [thing]
    assert words(thing) == words(thing)


SAY = """
from course_lib import SGD, mlp
from course_lib.parallel.fingerprints import words

class Own:
    def __init__(self):
        self.names = ["a", "b"]
        self.f = lambda t: t in {"a", "b", "c", "d"}

print(words(mlp([2, 3, 2])), words(SGD(lambda t: 0.1)), words(Own()))
"""


def test_other_processes_find_the_same_words(root):
    said = {
        subprocess.run(
            [sys.executable, "-c", SAY], capture_output=True, text=True, check=True, cwd=root,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
    assert "sha256" in said.pop()
