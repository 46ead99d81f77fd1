"""Our client of Dask: its calls have an end, and say what was lost; no scheduler is there."""

from __future__ import annotations

import io
import logging
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

from distributed import Client
from distributed.client import ClosedClientError

from course_lib.parallel.errors import ClusterUnreachable, SchedulerLost
from course_lib.parallel.launch import client as client_file
from course_lib.parallel.launch.client import PATIENCE, LimitedClient, opened, quiet

ECHO = "the scheduler's echo"


class Unconnected(LimitedClient):
    """Its calls, and those that ask whether the scheduler is there, end as is said."""

    def __init__(self, *ends, status="running", limit=3.0):
        self.ends, self.asked = list(ends), []
        self.status, self.limit, self.address = status, limit, "tcp://s:1"
        self.scheduler = SimpleNamespace(echo=ECHO)

    def __del__(self):
        pass


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def sync(self, func, *args, asynchronous=None, callback_timeout=None, **kwargs):
        self.asked.append((func, callback_timeout))
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(Client, "sync", sync)


def test_a_call_has_the_clients_limit_or_its_own():
    own = Unconnected(1, 2)
    assert own.sync("nthreads") == 1
    assert own.sync("nthreads", callback_timeout=0.5) == 2
    assert own.asked == [("nthreads", 3.0), ("nthreads", 0.5)]


def test_an_error_of_a_call_is_raised_if_the_scheduler_is_there():
    own = Unconnected(ValueError("no such worker"), "")
    with pytest.raises(ValueError, match="no such worker"):
        own.sync("restart")
    assert own.asked == [("restart", 3.0), (ECHO, PATIENCE)]


def test_before_it_is_connected_nobody_is_asked():
    own = Unconnected(OSError("refused"), limit=None)
    with pytest.raises(OSError, match="refused"):
        own.sync("connect")
    assert own.asked == [("connect", None)]


@pytest.mark.parametrize(
    ("echo", "status", "how"),
    [
        (TimeoutError(), "running", r"did not answer for 5 s; it, .* is frozen"),
        (OSError("closed"), "running", "was lost: its process has ended"),
        (RuntimeError("no loop"), "running", "was lost: its process has ended"),
        (None, "connecting", "was lost: its process has ended"),
    ],
)
def test_a_scheduler_that_is_gone_is_named_and_not_asked_again(echo, status, how):
    own = Unconnected(TimeoutError("slow"), echo, status=status)
    for _ in range(2):
        with pytest.raises(SchedulerLost, match=rf"the scheduler at tcp://s:1 {how}"):
            own.sync("nthreads")
    assert len(own.asked) == (2 if status == "running" else 1)


@pytest.mark.parametrize(("timeout", "limit"), [(1.0, PATIENCE), (PATIENCE + 2, PATIENCE + 2)])
def test_a_client_connects_in_its_time_and_a_call_may_then_take_as_long(
    monkeypatch, timeout, limit
):
    """But never less than a scheduler needs that has much to do."""

    def connect(self, address, **options):
        assert options == {"security": "s", "timeout": timeout, "set_as_default": False}
        assert self.limit is None  # Dask's own timeout is the one that counts
        self.scheduler = SimpleNamespace(address=address)

    monkeypatch.setattr(Client, "__init__", connect)
    monkeypatch.setattr(Client, "__del__", lambda self: None)
    own = LimitedClient("tcp://s:1", "s", timeout)
    assert (own.limit, own.address) == (limit, "tcp://s:1")


def test_who_can_not_connect_leaves_nothing_for_the_end_of_python(monkeypatch):
    left = []

    def refuse(self, *args, **options):
        raise OSError("refused")

    monkeypatch.setattr(Client, "__init__", refuse)
    monkeypatch.setattr(Client, "__del__", lambda self: None)
    monkeypatch.setattr(LimitedClient, "_leave", lambda self: left.append(True))
    with pytest.raises(OSError, match="refused"):
        LimitedClient("tcp://s:1", None, 1.0)
    assert left == [True]


def test_dask_is_silent_where_people_read_and_nobody_else(tmp_path):
    """Loggers of its own with handlers of their own, as Dask has them; runs may overlap."""
    screen, names = io.StringIO(), ["distributed", "distributed.client", "mine"]
    handlers = [logging.StreamHandler(screen), logging.FileHandler(tmp_path / "log")]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]

    def speak():
        for logger in loggers:
            logger.critical(logger.name)

    try:
        for logger in loggers:
            logger.handlers[:], logger.propagate = [], False
        for logger in (loggers[0], loggers[2]):
            logger.handlers[:] = handlers
        loggers[1].propagate = True
        logging.getLogger().addHandler(handlers[0])  # which the user's logger has too
        with quiet():
            with quiet():
                speak()
            speak()
        assert screen.getvalue().split() == ["mine", "mine"]
        speak()
    finally:
        logging.getLogger().removeHandler(handlers[0])
        for logger, (own, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = own, propagate
        handlers[1].close()
    assert screen.getvalue().split() == ["mine", "mine", *names]
    assert (tmp_path / "log").read_text().split() == 3 * names


class Opened:
    """In place of a client: one that takes so long to connect, or fails to."""

    takes, fails = 0.0, None

    def __init__(self, address, security, timeout):
        time.sleep(self.takes)
        if self.fails:
            raise self.fails
        self.told = []

    def check(self):
        self.told.append("asked")

    def _leave(self):
        self.told.append("left")


@pytest.fixture
def connecting(monkeypatch):
    def will(**how):
        for name, value in how.items():
            monkeypatch.setattr(Opened, name, value)
        return opened("tcp://s:1", None, 0.4)

    monkeypatch.setattr(client_file, "LimitedClient", Opened)
    return will


def test_dasks_own_timeout_comes_before_ours(connecting):
    """Ours is for a server that says nothing, of which Dask's error would say less."""
    with connecting(takes=0.7) as own:
        assert own.told == []
    assert own.told == ["left"]
    with pytest.raises(ClusterUnreachable, match=r"'tcp://s:1': refused\. Expected an address"):
        with connecting(takes=0.0, fails=OSError("refused")):
            pytest.fail("it was opened")


def test_a_client_that_dask_has_closed_is_asked_whether_its_scheduler_was_lost(connecting):
    with pytest.raises(ClosedClientError), connecting() as own:
        raise ClosedClientError("closed")
    assert own.told == ["asked", "left"]
    with pytest.raises(ZeroDivisionError), connecting() as own:
        raise ZeroDivisionError
    assert own.told == ["left"]


def test_who_leaves_is_closed_whatever_its_scheduler_says(monkeypatch):
    def close(self, timeout):
        assert timeout == PATIENCE
        raise OSError("gone")

    monkeypatch.setattr(Client, "close", close)
    own = Unconnected()
    own._leave()
    assert own.status == "closed"
