"""Exercises on checkpoints, crashes and how often to save.

Chapter: when workers die.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.exercises.answers import array, call, in_double, number, refuse
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("when_workers_die.interval", "How often should this gang save?", "easy", 10)
def interval(answer: Any) -> None:
    """Compute the interval for two gangs, in seconds, from the MTBF of one machine in hours."""
    for cost, machines, hours in ((12.0, 50, 8760.0), (3.0, 7, 500.0)):
        got = number(call(answer, cost, machines, hours), "The interval")
        gang = 3600 * hours / machines
        want = math.sqrt(2 * cost * gang)
        refuse(
            got,
            ("one-machine", want * math.sqrt(machines),
             "This is the interval for one machine: n fail sooner."),
            ("machines-multiplied", want * machines, "More machines fail more often."),
            ("hours-as-seconds", want / 60, "The MTBF comes in hours, all else in seconds."),
            ("two-forgotten", want / math.sqrt(2),
             "A failure costs half an interval: where is the 2?"),
            ("root-forgotten", want**2, "This is the square of the interval."),
            rtol=1e-6,
        )  # fmt: skip
        if not math.isclose(got, want, rel_tol=1e-6):
            hint = f"For {cost:g} s, {machines} machines, {hours:g} h: expected {want:.6g} s, "
            raise Mistake("wrong-values", hint + f"got {got:.6g}.")


def _given(answer: Any, *args: Any, returns: Any = None) -> Callable[[], Any]:
    """Return a function without arguments, so that call() has none to copy."""

    def given() -> Any:
        result = answer(*args)
        return returns if result is None else result

    given.__name__ = getattr(answer, "__name__", given.__name__)
    return given


@exercise(
    "when_workers_die.snapshot", "A snapshot that holds still", "medium", 15, [(2, 5), (0, 11)]
)
def snapshot(answer: Any, epoch: int, step: int) -> None:
    """Take a snapshot, go on training in place, and look whether the snapshot has moved."""
    theta = np.array([1.0, 2.0, 3.0]) + step
    state: dict[str, Any] = {
        "t": 7 + step,
        "m": step * np.array([0.1, 0.2, 0.3]),
        "s": np.array([4.0, 5.0, 6.0]),
    }
    # The arrays themselves: with copies, an answer that keeps them could not be told.
    got = call(_given(answer, theta, state, epoch, step))
    if not isinstance(got, dict):
        raise Mistake("not-a-dict", f"Return a dict, not {got!r:.60}.")
    missing = [name for name in ("theta", "state", "epoch", "step") if name not in got]
    if missing:
        hint = f"Without {missing[0]} the run cannot go on where it was."
        raise Mistake(f"{missing[0]}-forgotten", hint)
    if (got["epoch"], got["step"]) != (epoch, step):
        raise Mistake("wrong-place", f"The snapshot was taken in epoch {epoch}, step {step}.")
    if not isinstance(got["state"], dict) or set(got["state"]) != set(state):
        raise Mistake("state-incomplete", f"The state holds {', '.join(state)}: keep all of it.")
    before = theta.copy(), state["m"].copy(), state["s"].copy()
    for moved in (theta, state["m"], state["s"]):
        moved *= -1
    state["t"] += 1
    in_double(got["theta"], "theta")
    if not np.array_equal(array(got["theta"], "theta"), before[0]):
        hint = "After more steps in place, the snapshot's theta has changed: it is the same array."
        raise Mistake("theta-shared", hint)
    kept = got["state"]
    if kept is state or kept["t"] != 7 + step:
        raise Mistake("state-shared", "The optimizer's own dict is kept: the next step changes it.")
    m, s = (array(kept[name], f"The state's {name}") for name in "ms")
    in_double(m, "The state's m")
    if not (np.array_equal(m, before[1]) and np.array_equal(s, before[2])):
        raise Mistake("shallow-copy", "The dict is new, but its arrays are the optimizer's own.")


@exercise("when_workers_die.newest", "The newest one that is whole", "medium", 20)
def newest(answer: Any) -> None:
    """Offer folders with whole, damaged and interrupted checkpoints of steps 9 to 100."""

    def folder(**kinds: str) -> dict[str, bytes]:
        files = {"notes.txt": b"not a checkpoint"}
        for step, kind in ((name.removeprefix("s"), kind) for name, kind in kinds.items()):
            data = f"weights of step {step}".encode()
            if kind != "no sum":
                files[f"step-{step}.sum"] = hashlib.sha256(data).hexdigest().encode()
            if kind != "no data":
                files[f"step-{step}.bin"] = data[:-1] if kind == "damaged" else data
        return files

    cases = (
        ("only-the-newest", 90, folder(s80="whole", s90="whole", s100="damaged"),
         "Step 100 is damaged, 90 is whole: look further back."),
        ("sum-not-checked", 80, folder(s80="whole", s90="damaged"),
         "Step 90 was returned, but its bytes do not have the sum that was written."),
        ("sorted-as-text", 100, folder(s9="whole", s80="whole", s100="whole"),
         "As text, '9' comes after '100'. Steps are numbers."),
        ("interrupted-save", 20, folder(s20="whole", s30="no sum", s40="no data"),
         "Step 30 has no sum and step 40 no data: such a save was interrupted."),
        ("nothing-left", -1, folder(s10="damaged"), "Return -1 if no checkpoint is whole."),
    )  # fmt: skip
    for name, want, files, hint in cases:
        try:
            got = number(call(answer, files), "The step")
        except Mistake as mistake:
            if mistake.name == "raises-an-error" and name in ("interrupted-save", "nothing-left"):
                raise Mistake(name, f"{hint} {mistake.hint}") from None
            raise
        if got == 90 and want == 80:
            raise Mistake("sum-not-checked", hint)
        if name == "only-the-newest" and got == 100:
            raise Mistake("sum-not-checked", "Step 100 was returned; its bytes are damaged.")
        if got != want:
            raise Mistake(name, hint)


class _Crash(Exception):
    """The power goes."""


class _Disk:
    """Loses power at a given operation; what was not flushed is then only half there."""

    def __init__(self, crash_at: int, name: str) -> None:
        self.files: dict[str, bytes] = {name: b"the old state"}
        self.left, self.unflushed, self.log = crash_at, set[str](), list[str]()

    def _operate(self, name: str) -> None:
        self.log.append(name)
        self.left -= 1
        if self.left == 0:
            for file in self.unflushed & self.files.keys():
                self.files[file] = self.files[file][:5]
            raise _Crash

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data[:5]  # a crash now leaves a part
        self._operate("write")
        self.files[name] = data
        self.unflushed.add(name)

    def flush(self, name: str) -> None:
        self._operate("flush")
        self.unflushed.discard(name)

    def rename(self, old: str, new: str) -> None:
        self._operate("rename")
        self.files[new] = self.files.pop(old)
        self.unflushed.discard(new)
        if old in self.unflushed:
            self.unflushed.remove(old)
            self.unflushed.add(new)

    def delete(self, name: str) -> None:
        self._operate("delete")
        del self.files[name]
        self.unflushed.discard(name)


@exercise(
    "when_workers_die.atomic",
    "Save, whenever the power goes",
    "hard",
    25,
    [("state", b"the new state, which is longer"), ("model", b"short")],
)
def atomic(answer: Any, name: str, new: bytes) -> None:
    """Let the power go before each operation, and after the last; read the file each time."""
    old = b"the old state"
    disk = _Disk(0, name)
    call(_given(answer, disk, name, new, returns="done"))
    if disk.files.get(name) != new:
        raise Mistake("not-saved", "Without any crash, the file does not hold the new content.")
    for crash in range(1, len(disk.log) + 2):
        disk = _Disk(crash, name)
        try:
            answer(disk, name, new)
            for file in disk.unflushed:  # the power goes when the save is over
                disk.files[file] = disk.files[file][:5]
        except _Crash:
            pass
        found = disk.files.get(name)
        if found is None:
            hint = "There is a moment at which no file of that name exists. A rename replaces "
            raise Mistake("nothing-there", hint + "the old file by itself: delete nothing.")
        if found not in (old, new) and "rename" not in disk.log:
            hint = f"The power went at operation {crash} ({disk.log[-1]}), and half a file was "
            raise Mistake("written-in-place", hint + "left under the real name.")
        if found not in (old, new):
            hint = "The new name was on the disk before the bytes were: flush them before renaming."
            raise Mistake("not-flushed", hint)
