"""Collectives: the right sum, the same bits on every rank, and exactly the messages promised."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.parallel import shard
from course_lib.parallel.collectives import (
    all_agree,
    all_gather,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object,
    reduce_scatter,
)
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import traffic
from course_lib.parallel.errors import RankFailed

SIZES = [1, 2, 3, 4, 5, 6, 7, 8]
ALGORITHMS = ["auto", "ordered", "tree", "ring", "recursive_doubling"]


def numbers(rank, dtype=np.float64):
    return np.random.default_rng(rank).normal(size=(7, 3)).astype(dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_all_reduce_is_the_sum_with_the_same_bits_on_every_rank(size, algorithm, dtype):
    sums = run_threads(size, lambda c: all_reduce(c, numbers(c.rank, dtype), algorithm))
    exact = np.sum([numbers(r, dtype).astype(np.longdouble) for r in range(size)], axis=0)
    # 7 additions of numbers around 1: at most 7 roundings.
    tolerance = 0 if dtype is np.int64 else 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(sums[0], exact.astype(dtype), rtol=0, atol=tolerance)
    assert len({s.tobytes() for s in sums}) == 1
    assert all(s.dtype == dtype and s.shape == (7, 3) for s in sums)


@pytest.mark.parametrize("size", SIZES)
def test_ordered_adds_in_rank_order_and_tree_in_pairs(size):
    parts = [numbers(r) for r in range(size)]
    in_order = parts[0].copy()
    for part in parts[1:]:
        in_order = in_order + part
    in_pairs = parts
    while len(in_pairs) > 1:
        in_pairs = [
            in_pairs[i] + in_pairs[i + 1] if i + 1 < len(in_pairs) else in_pairs[i]
            for i in range(0, len(in_pairs), 2)
        ]
    for algorithm, expected in (("ordered", in_order), ("tree", in_pairs[0])):
        sums = run_threads(size, lambda c, a=algorithm: all_reduce(c, numbers(c.rank), a))
        np.testing.assert_array_equal(sums[0], expected)  # bitwise


@pytest.mark.parametrize("size", SIZES)
def test_recursive_doubling_adds_neighbours_first_like_a_tree(size):
    """The same pairs at a power of two; else the first ranks are paired before."""
    parts = [numbers(r) for r in range(size)]
    extra = size - 2 ** (size.bit_length() - 1)
    pairs = [parts[2 * i] + parts[2 * i + 1] for i in range(extra)] + parts[2 * extra :]
    while len(pairs) > 1:
        pairs = [a + b for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
    sums = run_threads(size, lambda c: all_reduce(c, numbers(c.rank), "recursive_doubling"))
    np.testing.assert_array_equal(sums[0], pairs[0])  # bitwise


@pytest.mark.parametrize("size", SIZES)
def test_a_ring_adds_each_part_along_the_ring_and_ends_at_its_rank(size):
    expected = []
    for r in range(size):
        order = [(r + k) % size for k in range(1, size + 1)]
        total = np.array_split(numbers(order[0]).reshape(-1), size)[r]
        for source in order[1:]:
            total = total + np.array_split(numbers(source).reshape(-1), size)[r]
        expected.append(total)
    sums = run_threads(size, lambda c: all_reduce(c, numbers(c.rank), "ring"))
    np.testing.assert_array_equal(sums[0].reshape(-1), np.concatenate(expected))  # bitwise
    parts = run_threads(size, lambda c: reduce_scatter(c, numbers(c.rank), "ring"))
    assert [p.tobytes() for p in parts] == [e.tobytes() for e in expected]


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
@pytest.mark.parametrize("size", [*SIZES, 11])
def test_all_reduce_sends_what_the_formula_says(size, algorithm):
    n = 9240  # divided by every size here, so that the parts of a ring are alike

    def fn(comm):
        array = np.full(n, comm.rank + 1.0)
        assert all_reduce(comm, array, algorithm) is array
        assert set(array.tolist()) == {size * (size + 1) / 2}
        return comm.counters.messages, comm.counters.bytes

    assert run_threads(size, fn) == [tuple(t) for t in traffic(size, 8 * n, algorithm)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_array_that_is_not_contiguous_and_one_with_fewer_numbers_than_ranks(algorithm):
    def fn(comm):
        array = np.zeros((5, 4))
        part = array[1:4:2, ::3].T
        part += comm.rank
        return all_reduce(comm, part, algorithm) is part, array

    columns = np.array([0.0, 28, 0, 28, 0])[:, None] * [1, 0, 0, 1]
    for same, array in run_threads(8, fn):
        assert same
        np.testing.assert_array_equal(array, columns)
    for shape in ((), (0,), (1,), (3,)):
        sums = run_threads(5, lambda c, s=shape: all_reduce(c, np.full(s, c.rank + 1.0), algorithm))
        assert all(np.array_equal(s, np.full(shape, 15.0)) for s in sums)


@pytest.mark.parametrize("algorithm", ["auto", "ordered", "ring"])
@pytest.mark.parametrize("size", SIZES)
def test_reduce_scatter_leaves_each_rank_its_part_of_the_sum(size, algorithm):
    def fn(comm):
        array = numbers(comm.rank)
        part = reduce_scatter(comm, array, algorithm)
        assert np.shares_memory(part, array)
        return part, comm.counters.messages, comm.counters.bytes

    results = run_threads(size, fn)
    whole = np.concatenate([part for part, *_ in results])
    expected = run_threads(size, lambda c: all_reduce(c, numbers(c.rank), "ordered"))[0]
    if algorithm == "ring":
        np.testing.assert_allclose(whole, expected.reshape(-1), rtol=0, atol=1e-14)
    else:
        np.testing.assert_array_equal(whole, expected.reshape(-1))  # bitwise
    assert [len(part) for part, *_ in results] == [
        len(p) for p in np.array_split(np.zeros(21), size)
    ]
    assert {messages for _, messages, _ in results} == {size - 1}
    assert sum(b for *_, b in results) == (size - 1) * 21 * 8


@pytest.mark.parametrize("size", SIZES)
def test_broadcast_copies_the_roots_array_in_p_minus_1_messages(size):
    for root in range(size):

        def fn(comm, root=root):
            return broadcast(comm, numbers(comm.rank), root=root), comm.counters.messages

        results = run_threads(size, fn)
        assert all(np.array_equal(array, numbers(root)) for array, _ in results)
        assert sum(messages for _, messages in results) == size - 1


@pytest.mark.parametrize("size", SIZES)
def test_all_gather_brings_arrays_of_any_shape_in_p_times_p_minus_1_messages(size):
    def fn(comm):
        own = np.full(comm.rank, float(comm.rank))
        gathered = all_gather(comm, own)
        gathered[comm.rank] += 1  # this rank's entry is a copy, too
        return gathered, own, comm.counters.messages

    results = run_threads(size, fn)
    for rank, (gathered, own, _) in enumerate(results):
        for source, array in enumerate(gathered):
            assert array.tolist() == [source + (source == rank)] * source
        assert own.tolist() == [rank] * rank
    assert sum(messages for *_, messages in results) == size * (size - 1)


def facts(rank):
    """Another object on each rank, and another length."""
    return {"host": "ä" * rank, "gpus": [rank, None], "half": rank / 2 + 0.1, "first": rank == 0}


@pytest.mark.parametrize("size", SIZES)
def test_objects_of_all_ranks_are_the_same_on_every_rank(size):
    def fn(comm):
        own = facts(comm.rank)
        gathered = all_gather_object(comm, own)
        return gathered, gathered[comm.rank] is own, comm.counters.messages

    results = run_threads(size, fn)
    assert all(gathered == [facts(rank) for rank in range(size)] for gathered, *_ in results)
    assert not any(same for _, same, _ in results)  # this rank's entry is a copy, too
    assert sum(messages for *_, messages in results) == size * (size - 1)


@pytest.mark.parametrize("size", SIZES)
def test_the_roots_object_is_the_same_on_every_rank_in_p_minus_1_messages(size):
    for root in range(size):

        def fn(comm, root=root):
            # What others pass is not looked at: it has no form in JSON.
            thing = facts(root) if comm.rank == root else object()
            return broadcast_object(comm, thing, root=root), comm.counters.messages

        results = run_threads(size, fn)
        assert all(thing == facts(root) for thing, _ in results)
        assert sum(messages for _, messages in results) == size - 1


@pytest.mark.parametrize("thing", [None, False, 0, -1.5e-300, 2**70, "", "\0", [], {}, [[{}]]])
def test_the_smallest_and_the_strangest_objects_arrive_as_they_are(thing):
    def fn(comm):
        return [*all_gather_object(comm, thing), broadcast_object(comm, thing)]

    for found in run_threads(2, fn):
        assert found == [thing] * 3
        assert {type(f) for f in found} == {type(thing)}


def test_objects_without_a_form_in_json_are_refused():
    circle = []
    circle.append(circle)
    for thing, what in (
        (np.zeros(2), "ndarray"),
        ({1, 2}, "set"),
        (circle, "Circular"),
        (b"", "b"),
    ):
        match = rf"can not be sent as JSON \(.*{what}.*\); expected None, booleans, numbers, stri"
        with pytest.raises(RankFailed, match=f"all_gather_object: the object {match}"):
            run_threads(2, lambda c, thing=thing: all_gather_object(c, thing))
        with pytest.raises(RankFailed, match=f"broadcast_object: the object {match}"):
            run_threads(2, lambda c, thing=thing: broadcast_object(c, thing))


@pytest.mark.parametrize("size", SIZES)
def test_nobody_leaves_a_barrier_before_everybody_has_come(size):
    come, lock, seen = [], threading.Lock(), []

    def fn(comm):
        for _ in range(20):
            with lock:
                come.append(comm.rank)
            barrier(comm)
            with lock:
                seen.append(len(come))
            barrier(comm)
        return comm.counters

    counters = run_threads(size, fn)
    assert seen == [size * (round_ + 1) for round_ in range(20) for _ in range(size)]
    assert sum(c.messages for c in counters) == 40 * 2 * (size - 1)
    assert sum(c.bytes for c in counters) == 0


@pytest.mark.parametrize("size", SIZES)
def test_all_agree_is_true_only_if_all_say_so(size):
    assert run_threads(size, lambda c: all_agree(c, True)) == [True] * size
    for dissenter in range(size):
        assert not any(run_threads(size, lambda c, d=dissenter: all_agree(c, c.rank != d)))


def test_different_shapes_are_refused():
    with pytest.raises(RankFailed, match=r"all_reduce: rank 0 has an array of shape \(1,\), float"):
        run_threads(2, lambda c: all_reduce(c, np.zeros(c.rank + 1)))


def test_different_dtypes_are_refused():
    with pytest.raises(RankFailed, match=r"rank 1 sent \(3,\), float32; all ranks must pass"):
        run_threads(2, lambda c: all_reduce(c, np.zeros(3, [np.float64, np.float32][c.rank])))


@pytest.mark.parametrize("odd", [0, 1, 2])
@pytest.mark.parametrize("other", [np.zeros(7), np.zeros(5), np.zeros(6, "f4"), np.zeros(6, "i8")])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_rank_with_another_size_or_dtype_is_refused_in_every_algorithm(algorithm, other, odd):
    def fn(comm):
        all_reduce(comm, (other if comm.rank == odd else np.zeros(6)).copy(), algorithm)

    with pytest.raises(RankFailed, match=r"all_reduce: rank .* all ranks must pass the same"):
        run_threads(3, fn)


@pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 6)])
def test_where_whole_arrays_are_sent_another_shape_is_refused_too(shape):
    calls = [lambda c, a, name=n: all_reduce(c, a, name) for n in ALGORITHMS if n != "ring"]
    for call in (*calls, broadcast):
        with pytest.raises(RankFailed, match=r"all ranks must pass the same"):
            run_threads(2, lambda c, call=call: call(c, np.zeros(shape if c.rank else (2, 3))))


def test_what_cannot_be_overwritten_is_refused():
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(RankFailed, match=r"all_reduce works in place .* got a read-only array"):
        run_threads(2, lambda c: all_reduce(c, frozen))
    with pytest.raises(RankFailed, match=r"broadcast works in place .* got list; pass a copy"):
        run_threads(2, lambda c: broadcast(c, [1.0]))
    with pytest.raises(RankFailed, match=r"reduce_scatter: .* shape \(2, 3\) must be C-contiguous"):
        run_threads(2, lambda c: reduce_scatter(c, np.zeros((3, 2)).T))


def test_unknown_algorithms_and_roots_are_refused():
    with pytest.raises(
        RankFailed, match=r"unknown all_reduce algorithm 'tre'; did you mean 'tree'"
    ):
        run_threads(1, lambda c: all_reduce(c, np.zeros(1), "tre"))
    with pytest.raises(RankFailed, match=r"unknown reduce_scatter algorithm 'tree'"):
        run_threads(1, lambda c: reduce_scatter(c, np.zeros(1), "tree"))
    with pytest.raises(RankFailed, match=r"root must be a rank in 0..1, got 2"):
        run_threads(2, lambda c: broadcast(c, np.zeros(1), root=2))
    with pytest.raises(RankFailed, match=r"broadcast_object: root must be a rank in 0..1, got -1"):
        run_threads(2, lambda c: broadcast_object(c, 1, root=-1))


ANY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@ANY
@given(
    size=st.integers(1, 9),
    shape=st.lists(st.integers(0, 7), max_size=3),
    algorithm=st.sampled_from(ALGORITHMS),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_of_integers_are_exact_for_any_shape_and_number_of_ranks(size, shape, algorithm, seed):
    """Integers have one sum, in whatever order and pieces they are added."""
    parts = np.random.default_rng(seed).integers(-(10**6), 10**6, (size, *shape))

    def fn(comm):
        mine = np.array(parts[comm.rank])
        scattered = reduce_scatter(comm, mine.reshape(-1).copy())
        return all_reduce(comm, mine, algorithm), all_gather(comm, scattered)

    for total, pieces in run_threads(size, fn):
        np.testing.assert_array_equal(total, parts.sum(axis=0))
        np.testing.assert_array_equal(np.concatenate(pieces), parts.sum(axis=0).ravel())


@ANY
@given(n=st.integers(0, 10**9), size=st.integers(1, 10**4), data=st.data())
def test_every_row_has_one_rank_and_ranks_differ_by_one_row_at_most(n, size, data):
    rank = data.draw(st.integers(0, size - 1))
    part = shard(n, rank, size)
    assert part.start == (0 if rank == 0 else shard(n, rank - 1, size).stop)
    assert part.stop == (n if rank == size - 1 else shard(n, rank + 1, size).start)
    assert n // size <= part.stop - part.start <= -(-n // size)
