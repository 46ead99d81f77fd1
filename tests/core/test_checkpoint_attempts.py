"""Several processes at one folder: who looks while another saves, and who was believed dead.

The moments are chosen, not waited for: what the other does is put between two operations on the
disk, each in turn.
"""

from __future__ import annotations

import os
import threading
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from course_lib.checkpoint import CheckpointError, latest_valid, save


def meanwhile(monkeypatch, read, act):
    """Act before the read-th file is looked at."""
    original, calls = Path.lstat, count(1)

    def slow(path):
        if next(calls) == read:
            act()
        return original(path)

    monkeypatch.setattr(Path, "lstat", slow)


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("read", [1, 2])  # the manifest, the arrays
def test_who_looks_while_another_saves_finds_the_newest(tmp_path, monkeypatch, keep, read):
    def steps(*numbers):
        for step in numbers:
            save(tmp_path, step=step, arrays={"a": np.full(3, step)}, keep=keep)

    steps(1, 2)
    meanwhile(monkeypatch, read, lambda: steps(3, 4, 5))  # all that was listed is gone
    found = latest_valid(tmp_path)  # without a warning
    assert (found.step, found.arrays["a"].tolist()) == (5, [5, 5, 5])


def test_a_step_that_is_saved_again_while_somebody_looks_is_found(tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, step=step, arrays={"a": np.zeros(2)})
    again = {"step": 2, "arrays": {"a": np.ones(2)}}
    meanwhile(monkeypatch, 2, lambda: save(tmp_path, **again))
    found = latest_valid(tmp_path)
    assert (found.step, found.arrays["a"].tolist()) == (2, [1, 1])


class Attempt(threading.Thread):
    """A save that is frozen before its k-th operation on the disk, until it is woken."""

    def __init__(self, folder, k, step, value):
        super().__init__(daemon=True)
        self.left, self.frozen, self.woken = k, threading.Event(), threading.Event()
        self.arguments = {"step": step, "arrays": {"a": np.full(4, value)}, "keep": 1}
        self.folder, self.error, self.was_frozen = folder, None, False
        self.start()
        assert self.frozen.wait(20)

    def run(self):
        try:
            save(self.folder, **self.arguments)
        except CheckpointError as error:
            self.error = error
        self.frozen.set()

    def operation(self):
        self.left -= 1
        if self.left == 0:
            self.was_frozen = True
            self.frozen.set()
            assert self.woken.wait(20)

    def wake(self):
        self.woken.set()
        self.join(20)
        assert not self.is_alive()


@pytest.fixture
def attempts_can_be_frozen(monkeypatch):
    def counted(call):
        def wrapper(*args, **kw):
            if isinstance(threading.current_thread(), Attempt):
                threading.current_thread().operation()
            return call(*args, **kw)

        return wrapper

    for name in ("fsync", "replace", "link", "unlink", "listdir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


@pytest.mark.usefixtures("attempts_can_be_frozen")
@pytest.mark.parametrize("step", [2, 3])
def test_an_attempt_that_was_believed_dead_does_no_harm_when_it_wakes_up(tmp_path, step):
    """It was frozen at any operation of saving step 2; the new attempt is at any of its own."""
    moments = 0
    for k in count(1):
        for j in count(1):
            folder = tmp_path / f"{k}-{j}"
            save(folder, step=1, arrays={"a": np.full(4, 1.0)})
            old = Attempt(folder, k, 2, 2.0)
            new = Attempt(folder, j, step, 3.0)
            old.wake()
            new.wake()
            assert new.error is None
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # nothing newer is broken
                found = latest_valid(folder)
            assert found.step == step
            assert found.arrays["a"].tolist() in (
                [[3.0] * 4, [2.0] * 4] if step == 2 else [[3.0] * 4]
            )
            save(folder, step=4, arrays={"a": np.zeros(1)}, keep=1)
            assert len(list(folder.iterdir())) == 2  # nothing is left behind
            moments += old.was_frozen and new.was_frozen
            if not new.was_frozen:
                break
        if not old.was_frozen:
            break
    assert moments > 60  # about ten operations each
