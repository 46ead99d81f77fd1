"""Scratch memory is made once and used in every step, whatever the strategy."""

from __future__ import annotations

import pytest

from course_lib import SGD
from course_lib.network import Network
from course_lib.parallel import (
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    SyncSGD,
    TensorParallel,
    ZeRO1,
)
from course_lib.parallel.strategies import VirtualShards
from course_lib.workspace import Workspace
from tests.parallel.sessions import STEPS, run

STRATEGIES = [
    SyncSGD(),
    VirtualShards(4),
    LocalSGD(2),
    Compressed(Int8()),
    ZeRO1(),
    Pipeline(2, micro_batches=4),
    TensorParallel(),
    Mesh(data=2),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_more_steps_need_no_more_workspaces(strategy, monkeypatch):
    made, used = [], []
    begin, compute = Workspace.__init__, Network.loss_and_grad

    def count(self, *args, **kwargs):
        made.append(self)
        begin(self, *args, **kwargs)

    def note(self, *args, workspace=None, **kwargs):
        used.append(workspace)
        return compute(self, *args, workspace=workspace, **kwargs)

    monkeypatch.setattr(Workspace, "__init__", count)
    monkeypatch.setattr(Network, "loss_and_grad", note)
    counts = []
    for steps in (1, STEPS):
        made.clear()
        used.clear()
        run(strategy, 2, SGD(0.1), last=steps)
        counts.append(len(made))
        # The rest of the network's own computations, if any, are in one of these.
        assert all(any(space is one for one in made) for space in used)
    assert counts[0] == counts[1] > 0
