"""Typical wrong answers to the exercises of the chapter on collectives."""

from __future__ import annotations

from typing import Any

import numpy as np

from course_lib.parallel.collectives import all_reduce, reduce_scatter


def _fastest(alpha: float, beta: float, p: int, n: float, *, trips: int = 2) -> str:
    rounds = (p - 1).bit_length()
    seconds = {
        "ordered": 2 * (p - 1) * (alpha + beta * n),
        "tree": 2 * rounds * (alpha + beta * n),
        "ring": trips * (p - 1) * (alpha + beta * n / p),
        "recursive_doubling": rounds * (alpha + beta * n),
    }
    return min(seconds, key=lambda name: seconds[name])


def _linear(comm: Any, array: Any) -> Any:
    total = array.copy()
    if comm.rank:
        comm.send(0, "up", array)
        return total
    for source in range(1, comm.size):
        total += comm.recv(source, "up")
    return total


def _chain(comm: Any, array: Any) -> Any:
    """Each rank waits for its right neighbour and tells its left one."""
    total = array.copy()
    if comm.rank + 1 < comm.size:
        total += comm.recv(comm.rank + 1, "up")
    if comm.rank:
        comm.send(comm.rank - 1, "up", total)
    return total


def _no_odd_ranks(comm: Any, array: Any) -> Any:
    """Pairs from the upper half to the lower: what is left over is forgotten."""
    total, half = array.copy(), comm.size // 2
    while half:
        if half <= comm.rank < 2 * half:
            comm.send(comm.rank - half, "up", total)
            break
        if comm.rank < half:
            total += comm.recv(comm.rank + half, "up")
        half //= 2
    return total


def _forgetful(comm: Any, array: Any) -> Any:
    total = array.copy()
    distance = 1
    while distance < comm.size:
        if comm.rank % (2 * distance):
            comm.send(comm.rank - distance, "up", total)
            break
        if comm.rank + distance < comm.size:
            total = total + comm.recv(comm.rank + distance, "up")
        distance *= 2
    return array.copy()


def _never_sent(comm: Any, array: Any) -> Any:
    total = array.copy()
    if comm.rank + 1 < comm.size:
        total += comm.recv(comm.rank + 1, "up")
    return total


def _exchange(comm: Any, array: Any) -> Any:
    total, distance = array.copy(), 1
    while distance < comm.size:
        partner = comm.rank ^ distance
        if partner < comm.size:
            comm.send(partner, "up", total)
            total = total + comm.recv(partner, "up")
        distance *= 2
    return total


def _halving(comm: Any, array: Any, *, swap: bool = False, all_of_it: bool = False) -> Any:
    own, low, high, distance = array.copy(), 0, len(array), comm.size // 2
    while distance:
        middle, partner = (low + high) // 2, comm.rank ^ distance
        upper = bool(comm.rank & distance) != swap
        give, keep = ((low, middle), (middle, high)) if upper else ((middle, high), (low, middle))
        if all_of_it:
            comm.send(partner, "half", own)
            own = own + comm.recv(partner, "half")
        else:
            comm.send(partner, "half", own[slice(*give)])
            own[slice(*keep)] += comm.recv(partner, "half")
        (low, high), distance = keep, distance // 2
    return own[low:high]


WRONG = {
    "collectives.fastest": {
        "latency-only": lambda alpha, beta, p, n: "recursive_doubling",
        "bytes-only": lambda alpha, beta, p, n: "ring",
        "one-trip-only": lambda alpha, beta, p, n: _fastest(alpha, beta, p, n, trips=1),
        "wrong-choice": lambda alpha, beta, p, n: "ring" if n > 1e4 else "tree",
        "not-a-name": lambda alpha, beta, p, n: 3.0,
    },
    "collectives.reduce": {
        "all-to-the-root": _linear,
        "powers-of-two-only": _no_odd_ranks,
        "sum-not-kept": _forgetful,
        "waits-in-vain": _never_sent,
        "too-many-messages": _exchange,
        "chain": _chain,
        "raises-an-error": lambda comm, array: array * (comm.size // (comm.size - 1)),
        "input-changed": lambda comm, array: np.add(array, 1, out=array),
    },
    "collectives.halving": {
        "too-many-rounds": lambda comm, array: reduce_scatter(comm, array.copy(), "ring"),
        "too-much-sent": lambda comm, array: _halving(comm, array, all_of_it=True),
        "parts-swapped": lambda comm, array: _halving(comm, array, swap=True),
        "whole-sum": lambda comm, array: all_reduce(comm, array.copy(), "tree"),
    },
}
