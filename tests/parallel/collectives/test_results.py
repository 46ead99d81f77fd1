"""What a collective hands out is the rank's own: it can be written, and nobody else sees it."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.parallel import gang
from course_lib.parallel.channels import connected
from course_lib.parallel.collectives import (
    ALL_REDUCE,
    REDUCE_SCATTER,
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    reduce_scatter,
)
from course_lib.parallel.comm import run_threads
from course_lib.parallel.launch import run_processes

pytestmark = pytest.mark.timeout(110)

N = 3


def received(comm):
    """All that a rank gets from the others, by what gave it."""
    before, after = (comm.rank - 1) % N, (comm.rank + 1) % N
    mine = np.full(5, float(comm.rank))
    mine.flags.writeable = False  # what others get of it can be written all the same
    for tag in ("one", "any"):
        comm.send(after, tag, mine)
    got = {"recv": comm.recv(before, "one"), "recv_any": comm.recv_any([before], "any")[1]}
    for rank, array in enumerate(all_gather(comm, mine)):
        got[f"all_gather of {rank}"] = array
    got["broadcast"] = broadcast(comm, np.full(5, float(comm.rank)), root=2)
    for name in ALL_REDUCE:
        got[f"all_reduce {name}"] = all_reduce(comm, np.full(5, float(comm.rank)), name)
    for name in REDUCE_SCATTER:
        got[f"reduce_scatter {name}"] = reduce_scatter(comm, np.full(5, float(comm.rank)), name)
    return got


def write_on_all(comm, channel):
    """Each rank writes its number into all that it has got, and looks whether it stays there."""
    with connected(comm, channel) as over:
        got = received(over)
        wanted = {"recv": (comm.rank - 1) % N, "recv_any": (comm.rank - 1) % N, "broadcast": 2}
        wanted |= {f"all_gather of {rank}": rank for rank in range(N)}
        for name, array in got.items():
            assert array.tolist() == [wanted.get(name, 0 + 1 + 2)] * len(array), name
            assert array.flags.writeable, name
            array[:] = -1 - comm.rank
        barrier(over)
        for name, array in got.items():
            assert array.tolist() == [-1.0 - comm.rank] * len(array), name
        return len(got)


@pytest.mark.parametrize("channel", ["dask", "shared_memory"])
def test_between_threads(channel):
    assert run_threads(N, lambda comm: write_on_all(comm, channel)) == [14] * N


def test_between_processes(quick_processes):
    assert run_processes(N, write_on_all, "dask") == [14] * N


@pytest.mark.parametrize("channel", ["dask", "shared_memory"])
def test_between_dask_workers(client, channel):
    program = pytest.importorskip("cloudpickle")
    import sys

    program.register_pickle_by_value(sys.modules[__name__])
    try:
        assert gang(client, write_on_all, N, channel, comm="dask") == [14] * N
    finally:
        program.unregister_pickle_by_value(sys.modules[__name__])
