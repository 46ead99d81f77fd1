"""The process group of a rank: what its errors tell, who wakes it, and that none is left."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

import torch
import torch.distributed as dist

from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import Aborted, CommTimeout, RankFailed
from course_lib.parallel.torch_ddp import group as group_file
from course_lib.parallel.torch_ddp.group import _guard, _translate, process_group

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "stopped", "kind", "sentence"),
    [
        (dist.DistBackendError("broken pipe"), False, Aborted, "lost the connection .*broken pipe"),
        (RuntimeError("[gloo/pair.cc] closed"), False, Aborted, "rank 1 lost the connection to an"),
        (RuntimeError("NCCL error"), False, Aborted, "lost the connection"),
        (RuntimeError("gloo: Timed out"), False, CommTimeout, "rank 1 waited 7 s for the others"),
        (
            RuntimeError("NCCL timeout\nmore"),
            False,
            CommTimeout,
            r"inside PyTorch \(NCCL timeout\)",
        ),
        (RuntimeError("gloo: Timed out"), True, Aborted, "rank 2 failed"),
        (dist.DistError("closed"), True, Aborted, "rank 2 failed"),
    ],
)
def test_an_error_of_pytorchs_channel_is_told_as_what_happened(error, stopped, kind, sentence):
    def check():
        if stopped:
            raise Aborted("rank 2 failed")

    comm = SimpleNamespace(rank=1, size=3, timeout=7.0, step=4, check=check)
    found = _translate(comm, error)
    assert isinstance(found, kind)
    with pytest.raises(kind, match=sentence):
        raise found
    assert stopped or (found.rank, found.step) == (1, 4)


@pytest.mark.parametrize(
    "error", [ValueError("of gloo"), RuntimeError("mine"), NotImplementedError("gloo"), KeyError(1)]
)
def test_an_error_of_the_program_stays_what_it_is_also_when_the_run_is_stopped(error):
    def check():
        raise Aborted("rank 2 failed")

    assert _translate(SimpleNamespace(check=check), error) is error


def test_a_stopped_run_wakes_its_ranks_once_and_one_that_has_ended_is_left_alone(monkeypatch):
    monkeypatch.setattr(group_file, "_LOOK", 0.01)
    woken, looks, ended = [], [], threading.Event()

    def check():
        looks.append(True)
        if len(looks) == 3:
            raise Aborted("rank 2 failed")

    _guard(SimpleNamespace(check=check), ended, lambda: woken.append(True))
    assert (len(looks), woken) == (3, [True])
    ended.set()
    _guard(SimpleNamespace(check=check), ended, lambda: woken.append(True))
    assert (len(looks), woken) == (3, [True])


@pytest.mark.parametrize("fails", [False, True])
def test_who_has_finished_waits_for_long_computing_ranks_and_no_group_is_left(monkeypatch, fails):
    waits = []
    monkeypatch.setattr(group_file, "barrier", lambda comm: waits.append(comm.timeout))

    def program(comm):
        with process_group(comm, CPU):
            assert dist.is_initialized()
            if fails:
                raise KeyError("no such row")
        return comm.timeout

    if fails:
        with pytest.raises(RankFailed, match="KeyError: 'no such row'"):
            run_threads(1, program, timeout=8.0)
    else:
        assert run_threads(1, program, timeout=8.0) == [8.0]
        assert waits[0] > 24 * 3600
    assert len(waits) == (not fails)
    assert not dist.is_initialized()
    assert not [t for t in threading.enumerate() if t.name.endswith("(_guard)")]
