"""Two levels: shared memory on each host, one rank per host between hosts; hosts are pretended."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.parallel.channels import Hierarchical
from course_lib.parallel.channels.segment import Segment
from course_lib.parallel.collectives import all_agree, all_reduce, barrier
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import traffic
from course_lib.parallel.errors import NoSharedMemory, ParallelError, RankFailed

PLACES = ["a", "aaaa", "abcd", "aabb", "abab", "abcca", "aaaabbbc"]


def numbers(rank):
    return np.random.default_rng(rank).normal(size=1001)


@pytest.mark.parametrize("algorithm", ["ordered", "tree", "ring", "recursive_doubling"])
@pytest.mark.parametrize("hosts", PLACES)
def test_the_sum_is_that_of_the_hosts_sums_on_every_rank(hosts, algorithm):
    def fn(comm):
        channel = Hierarchical(comm, list(hosts), algorithm)
        array = channel.buffer(1001, np.float64)
        array[:] = numbers(comm.rank)
        all_reduce(channel, array)
        barrier(channel)
        assert all_agree(channel, True)
        assert not all_agree(channel, comm.rank > 0)
        return array.tobytes()

    sums = run_threads(len(hosts), fn)
    assert len(set(sums)) == 1
    exact = np.sum([numbers(r) for r in range(len(hosts))], axis=0, dtype=np.longdouble)
    got = np.frombuffer(sums[0])
    np.testing.assert_allclose(got, exact.astype(float), rtol=0, atol=1e-14)
    by_host = {}  # by hand: in rank order on each host
    for rank, host in enumerate(hosts):
        part = numbers(rank)
        by_host[host] = by_host[host] + part if host in by_host else part
    first, *others = by_host.values()
    # The bits tell which algorithm it was: with four hosts, no two add in the same order.
    among = [first, *others]
    leaders = run_threads(len(among), lambda c: all_reduce(c, among[c.rank].copy(), algorithm))
    assert leaders[0].tobytes() == sums[0]
    if algorithm == "ordered":  # and by hand here too: in the hosts' order
        for other in others:
            first = first + other
        np.testing.assert_array_equal(got, first)  # bitwise


def test_a_negative_zero_stays_one_on_every_rank():
    def fn(comm):
        channel = Hierarchical(comm, list("aab"))
        return [
            all_reduce(channel, np.array(zero)).tobytes()
            for zero in ([-0.0], [complex(-0.0, -0.0)], [0], [False])
        ]

    first, *others = run_threads(3, fn)
    assert others == [first, first]
    assert np.signbit(np.frombuffer(first[0]))


@pytest.mark.parametrize("hosts", ["aabb", "aaabbbcc"])
def test_a_sum_crosses_the_network_once_per_host(hosts):
    def fn(comm):
        channel, array = Hierarchical(comm, list(hosts)), np.zeros(100)
        before = comm.counters.messages
        all_reduce(channel, array)
        return comm.counters.messages - before

    sent = run_threads(len(hosts), fn)
    leaders = [hosts.index(h) for h in sorted(set(hosts))]
    expected = [rank.messages for rank in traffic(len(leaders), 800)]
    assert [sent[r] for r in leaders] == expected
    assert sum(sent) == sum(expected)


def test_one_host_without_shared_memory_is_an_error_on_all(monkeypatch):
    make, seen = Segment.__init__, []

    def refuse(self, comm, control):
        if comm.step == 1:  # the marked ranks are those of host b
            raise NoSharedMemory("no memory here")
        make(self, comm, control)

    monkeypatch.setattr(Segment, "__init__", refuse)

    def fn(comm):
        comm.step = int(comm.rank > 1)
        try:
            Hierarchical(comm, list("aabb"))
        except ParallelError as error:
            seen.append(str(error))

    run_threads(4, fn)
    told = [f"rank {rank}: the ranks of another host can not share memory" for rank in (0, 1)]
    assert sorted(s.split(", so none")[0] for s in seen) == sorted([*told, *2 * ["no memory here"]])


def test_wrong_hosts_and_algorithms_are_refused():
    with pytest.raises(RankFailed, match="expected the host of each of 2 ranks, got 3"):
        run_threads(2, lambda c: Hierarchical(c, list("abc")))
    with pytest.raises(RankFailed, match="unknown all_reduce algorithm 'rng'"):
        run_threads(2, lambda c: Hierarchical(c, list("ab"), "rng"))
