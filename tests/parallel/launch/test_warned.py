"""What Python warns of on a rank reaches whoever started the ranks, once, wherever they run."""

from __future__ import annotations

import threading
import warnings
from functools import partial

import pytest

pytest.importorskip("distributed")

from course_lib.parallel import gang
from course_lib.parallel.comm import run_threads
from course_lib.parallel.launch import run_processes


class OurWarning(UserWarning):
    """A category that another process need not know."""


def complain(rank):
    for _ in range(3):
        warnings.warn("rows of no use", RuntimeWarning, stacklevel=1)
    if rank == 1:
        warns = partial(warnings.warn, "only here", OurWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: warns())  # as a file is read
        thread.start()
        thread.join()
    return rank


def program(comm):
    comm.report({"rank": comm.rank, "warning": "the program's own"})
    return complain(comm.rank)


def ddp_program(ctx):
    ctx.report(a=1)
    return complain(ctx.rank)


def threads(client, hear):
    return run_threads(2, program, on_report=hear)


def processes(client, hear):
    return run_processes(2, program, on_report=hear)


def dask(client, hear):
    return gang(client, program, 2, on_report=hear)


def ddp(client, hear):
    torch_ddp = pytest.importorskip("course_lib.parallel.torch_ddp")
    return torch_ddp.run(
        ddp_program, client=client, device="cpu",
        on_event=lambda event: hear({"rank": event.rank}),
    )  # fmt: skip


@pytest.mark.parametrize("launcher", [threads, processes, dask, ddp])
def test_a_warning_of_a_rank_is_one_of_the_driver_once(launcher, client, quick_processes):
    for _ in range(2):  # a worker that has warned before warns again
        reports = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            assert launcher(client, reports.append) == [0, 1]
        assert sorted(report["rank"] for report in reports) == [0, 1]
        found = sorted((str(w.message).partition(" (on rank")[0], w.filename) for w in caught)
        assert found == [("only here", __file__), ("rows of no use", __file__)]
        kinds = {str(w.message).partition(" (")[0]: w.category for w in caught}
        assert kinds["rows of no use"] is RuntimeWarning
        assert issubclass(kinds["only here"], UserWarning)
        if launcher is not threads:
            assert any(str(w.message) == "only here (on rank 1)" for w in caught)


def test_a_warning_that_is_to_be_an_error_ends_the_run(client):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match=r"rows of no use \(on rank [01]\)"):
            gang(client, program, 2)
    assert gang(client, lambda comm: comm.rank, 2) == [0, 1]
