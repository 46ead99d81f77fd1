"""A group of ranks is a communicator of its own, over any channel."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.parallel.collectives import all_gather, all_reduce, barrier, broadcast
from course_lib.parallel.comm import SubComm, run_threads
from course_lib.parallel.errors import CommTimeout, ParallelError, RankFailed


@pytest.mark.parametrize("ranks", [[0], [2], [1, 3], [3, 1], [4, 0, 2], [0, 1, 2, 3, 4]])
def test_collectives_within_a_group_are_those_of_a_gang_of_that_size(ranks):
    def in_group(comm):
        if comm.rank not in ranks:
            return None
        group = SubComm(comm, ranks, "some")
        barrier(group)
        total = all_reduce(group, np.array([2.0**comm.rank]), "tree")
        first = broadcast(group, np.array([comm.rank]))
        everyone = all_gather(group, np.array([comm.rank]))
        return group.rank, group.size, total.item(), first.item(), np.concatenate(everyone).tolist()

    found = run_threads(5, in_group)
    for number, rank in enumerate(ranks):
        expected = (number, len(ranks), sum(2.0**r for r in ranks), ranks[0], ranks)
        assert found[rank] == expected
    assert [found[rank] for rank in range(5) if rank not in ranks] == [None] * (5 - len(ranks))


def test_two_groups_with_the_same_two_ranks_do_not_take_each_others_messages():
    def swap(comm):
        a, b = SubComm(comm, [0, 1], "a"), SubComm(comm, [1, 0], "b")
        a.send(1 - a.rank, "x", np.array([10 + comm.rank]))
        b.send(1 - b.rank, "x", np.array([20 + comm.rank]))
        comm.send(1 - comm.rank, "x", np.array([30 + comm.rank]))
        return [c.recv(1 - c.rank, "x").item() for c in (b, comm, a)]

    assert run_threads(2, swap) == [[21, 31, 11], [20, 30, 10]]


def test_a_group_within_a_group():
    def add(comm):
        half = SubComm(comm, [4, 5, 6, 7] if comm.rank > 3 else [0, 1, 2, 3], "half")
        pair = SubComm(half, [0, 3] if half.rank in (0, 3) else [1, 2], "pair")
        return all_reduce(pair, np.array([comm.rank])).item()

    assert run_threads(8, add) == [3, 3, 3, 3, 11, 11, 11, 11]


def test_receiving_from_any_member():
    def main(comm):
        if comm.rank == 0:
            return None
        group = SubComm(comm, [3, 1, 2], "workers")
        if group.rank > 0:
            group.send(0, "x", np.array([comm.rank * 10]))
            return None
        found = [group.recv_any([1, 2], "x") for _ in range(2)]
        return sorted((source, array.item()) for source, array in found)

    assert run_threads(4, main)[3] == [(1, 10), (2, 20)]


def test_counters_step_timeout_and_reports_are_those_of_the_whole():
    reports = []

    def main(comm):
        group = SubComm(comm, [1, 0], "all")
        group.step, group.timeout = 7, 3.0
        group.send(1 - group.rank, "x", np.zeros(4))
        group.recv(1 - group.rank, "x")
        group.report({"rank": group.rank})
        group.check()
        assert group.buffer(3, np.float32).dtype == np.float32
        return comm.step, group.step, comm.timeout, comm.counters.messages, group.counters.bytes

    assert run_threads(2, main, on_report=reports.append) == [(7, 7, 3.0, 1, 32)] * 2
    assert sorted(r["rank"] for r in reports) == [0, 1]


def test_a_group_can_stop_the_whole_run():
    def main(comm):
        if comm.rank == 1:
            SubComm(comm, [1, 2], "two").abort("enough")
        comm.recv((comm.rank + 1) % 3, "never")

    with pytest.raises(ParallelError, match="enough"):
        run_threads(3, main)


def test_errors_speak_of_the_ranks_of_the_whole():
    def main(comm):
        if comm.rank > 0:
            SubComm(comm, [2, 1], "two").recv(comm.rank - 1, "x", timeout=0.1)

    with pytest.raises(CommTimeout, match=r"(1 waited 0.1 s for 'two:x' from rank 2|2 .* rank 1)"):
        run_threads(3, main)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ([0, 0], r"expected distinct ranks in 0..1, got \[0, 0\]"),
        ([0, 2], r"expected distinct ranks in 0..1, got \[0, 2\]"),
        ([1], r"rank 0 is not one of \[1\]; only members of a group make it"),
    ],
)
def test_groups_that_cannot_be_are_refused(ranks, message):
    def main(comm):
        if comm.rank == 0:
            SubComm(comm, ranks, "bad")

    with pytest.raises(RankFailed, match=message):
        run_threads(2, main)


def test_a_rank_outside_the_group_is_no_peer():
    def main(comm):
        SubComm(comm, [0, 1], "two").send(2, "x", np.zeros(1))

    with pytest.raises(RankFailed, match=r"'two' has no rank 2: expected one in 0..1, which are"):
        run_threads(2, main)


def test_groups_work_on_dask_workers(client):
    from course_lib.parallel import gang

    assert gang(client, odd_and_even, 3, timeout=30) == [2, 1, 2]


def odd_and_even(comm):
    group = SubComm(comm, range(comm.rank % 2, comm.size, 2), "parity")
    return all_reduce(group, np.array([comm.rank])).item()
