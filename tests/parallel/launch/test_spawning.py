"""What a process sees to before it starts others; nothing is started here."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from types import SimpleNamespace

import pytest

from course_lib.parallel.errors import ParallelError
from course_lib.parallel.launch.spawning import (
    check_can_start,
    interrupts_held,
    known_start_method,
)

GUARDED = 'if __name__ == "__main__":\n    main()\n'


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Pretend that this process was started in some way, and ask whether it can start others."""

    def ask(text=None, *, spec=None, interactive=False, **process):
        script = tmp_path / "script.py"
        if text is not None:
            script.write_text(text)
        main = SimpleNamespace() if interactive else SimpleNamespace(__file__=str(script))
        main.__spec__ = spec
        this = SimpleNamespace(**{"name": "MainProcess", "daemon": False} | process)
        monkeypatch.setitem(sys.modules, "__main__", main)
        monkeypatch.setattr(multiprocessing, "current_process", lambda: this)
        check_can_start()

    return ask


@pytest.mark.parametrize(
    "how",
    [
        {"text": GUARDED},
        {"text": "", "spec": "of python -m"},
        {"spec": "of python -m, from a zip file"},
        {"interactive": True},
    ],
)
def test_scripts_with_a_guard_modules_and_notebooks_can_start_processes(started, how):
    started(**how)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"text": "main()\n"}, "so that only the first process runs it"),
        ({"text": GUARDED, "_inheriting": True}, "so that only the first process runs it"),
        ({}, r"script\.py' is no file: it was read from the standard input"),
        ({"text": GUARDED, "daemon": True, "name": "Pool-1"}, r"\(Pool-1\) is one that must not"),
    ],
)
def test_what_would_fail_in_the_new_processes_is_refused(started, how, sentence):
    with pytest.raises(ParallelError, match=sentence):
        started(**how)


@pytest.mark.parametrize(
    ("method", "inside"), [("loky", "spawn"), ("spawn", "spawn"), ("fork", "fork"), (None, None)]
)
def test_a_start_method_that_new_processes_do_not_know_is_replaced_for_a_while(
    monkeypatch, method, inside
):
    now = [method]

    def choose(name, force=False):
        if now[0] is not None and not force:
            raise RuntimeError("context has already been set")  # as the standard library does
        now[0] = name

    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: now[0])
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["fork", "spawn"])
    monkeypatch.setattr(multiprocessing, "set_start_method", choose)
    with known_start_method():
        assert now == [inside]
    assert now == [method]
    with pytest.raises(ZeroDivisionError), known_start_method():
        raise ZeroDivisionError
    assert now == [method]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no masks of signals")
def test_ctrl_c_waits_until_what_is_started_has_been():
    """What is started inherits the mask; it is as it was at the end, also after an error."""

    def blocked():
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    for _ in range(2):
        with pytest.raises(ZeroDivisionError), interrupts_held():
            assert blocked()
            raise ZeroDivisionError
        assert not blocked()
    with interrupts_held():
        with interrupts_held():  # inside another one, the outer one goes on
            pass
        assert blocked()
    assert not blocked()
