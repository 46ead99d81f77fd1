"""A training on copies of one process that has PyTorch: what tests of one training's numbers need.

A Dask worker takes seconds to import PyTorch; what a cluster does is tested with one elsewhere.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import cloudpickle
import pytest

from course_lib.parallel import torch_ddp
from course_lib.parallel.launch import run_processes

# What a copy would else import for itself, each time.
_NEEDED = (
    "pytest",
    "cloudpickle",
    "distributed",
    "sklearn.metrics",
    "torch._dynamo",  # which an optimizer imports, in two seconds
    "torch.nn.parallel.distributed",
    "course_lib.parallel.torch_ddp.training",
    "course_lib.parallel.launch.processes",
)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a ``torch_ddp.train`` whose ranks are copies of a process; see :func:`train`."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_NEEDED))
        monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: context)
    return lambda *args, **options: train(monkeypatch, *args, **options)


def _unpacked(comm: Any, program: bytes) -> Any:
    fn, args, kwargs = cloudpickle.loads(program)
    return fn(comm, *args, **kwargs)


class Copies:
    """Stands for a Relauncher; `ranks` says how many ranks each attempt has, the last ever on."""

    def __init__(self, ranks: Sequence[int]) -> None:
        self.ranks = list(ranks)

    def __call__(self, client: Any, workers: Any, *, timeout: float, among: Any = None) -> Copies:
        self.timeout = timeout
        return self

    def __enter__(self) -> Copies:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def launch(self, program: Any, *, on_report: Any, regroup: Any = None) -> list[Any]:
        ranks = self.ranks.pop(0) if len(self.ranks) > 1 else self.ranks[0]
        return run_processes(
            ranks, _unpacked, cloudpickle.dumps(program), timeout=self.timeout, on_report=on_report
        )

    def repair(self, failure: Any) -> None:
        pass


def train(monkeypatch: Any, *args: Any, ranks: Any = 2, **options: Any) -> torch_ddp.TorchResult:
    """Train with as many ranks, or with so many in each attempt."""
    copies = Copies(ranks if isinstance(ranks, list) else [ranks])
    with monkeypatch.context() as patched:
        patched.setattr("course_lib.parallel.torch_ddp.training.Relauncher", copies)
        return torch_ddp.train(*args, **{"device": "cpu", "timeout": 200} | options)
