"""Which device a rank computes on, where there are no GPUs."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from course_lib.parallel.channels import devices
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import ParallelError, RankFailed


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_visible", list)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_processors_compute_where_no_rank_sees_a_gpu(device):
    found = run_threads(2, lambda comm: devices.own_device(comm, device))
    assert found == [torch.device("cpu")] * 2


def test_processors_that_are_asked_for_ask_nobody():
    def fn(comm):
        devices.own_device(comm, "cpu")
        return comm.counters.messages

    assert run_threads(2, fn) == [0, 0]


def test_gpus_that_are_not_there_and_unknown_devices_are_refused():
    with pytest.raises(ParallelError, match=r"0 of 2 ranks have a GPU of their own, .* 0, 1 have"):
        run_threads(2, lambda comm: devices.own_device(comm, "cuda"))
    with pytest.raises(RankFailed, match="unknown device 'gpu'"):
        run_threads(2, lambda comm: devices.own_device(comm, "gpu"))
