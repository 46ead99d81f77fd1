"""Ranks of one host add their arrays in memory that they share, without copying or sending them.

The arrays lie in the shared memory already (:meth:`SharedMemory.buffer`). Rank r adds the r-th part
of all of them, in rank order, and writes the sum into each, between two barriers: before the
first, a gradient may be unfinished; after the second, all parts are. Every rank reads and writes
different parts, so all work at once and nobody needs a lock.

Chapter: data parallelism.
"""

from __future__ import annotations

import struct
import warnings
from typing import Any, TypeAlias

import numpy as np

from course_lib.arrays import Array
from course_lib.parallel.channels.barrier import LINE, Barrier
from course_lib.parallel.channels.segment import Segment
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import Comm, Layered, Reduces
from course_lib.parallel.errors import NoSharedMemory

# Where a rank's array is: offset and size of its allocation, offset of the array in it, number of
# elements, dtype. One per cache line.
_PLACE = struct.Struct("=qqqq16s")

_SLOT = 128

# Parts are cut at cache lines, and added in pieces that stay in a core's own cache until they have
# been written to all arrays.
_PIECE = 1 << 16

_PLANS = 32

Plan: TypeAlias = list[list[Array]]
"""Pieces of this rank's part, each as it lies in the array of every rank."""

WITHOUT = "This run goes on without: its ranks send messages, and wait longer."

# In place of an offset: this rank's array is not in shared memory.
_NOWHERE = -1


class SharedMemory(Layered, Reduces):
    """A communicator for ranks on one host; add with ``all_reduce(comm, comm.buffer(...))``.

    The sum is that of ``algorithm="ordered"``, to the bit. Arrays from elsewhere than
    :meth:`buffer` are copied in and out. Single messages take the communicator below.

    Parameters
    ----------
    base : Comm
        A communicator of the same ranks; all of them must make their SharedMemory at the same
        time.
    must : bool
        Whether it is an error if there is too little memory. If not, arrays for which there is
        none are sent as messages, with the same bits, and a warning says so once.

    Raises
    ------
    NoSharedMemory
        On every rank, if they can not share memory.

    References
    ----------
    Li, Hoefler & Snir 2013 (MPI collectives in shared memory).

    Examples
    --------
    >>> from course_lib.parallel.collectives import all_reduce
    >>> from course_lib.parallel.comm import run_threads
    >>> def add(comm):
    ...     shared = SharedMemory(comm)
    ...     gradient = shared.buffer(3, np.float64)
    ...     gradient[:] = comm.rank
    ...     return all_reduce(shared, gradient).tolist(), comm.counters.messages
    >>> run_threads(3, add)[0]
    ([3.0, 3.0, 3.0], 4)
    """

    def __init__(self, base: Comm, *, must: bool = True) -> None:
        super().__init__(base)
        self._must = must
        self._short: NoSharedMemory | None = None
        self._told = False
        size = base.size
        self._segment = Segment(base, 64 + size * (LINE + _SLOT))
        control = memoryview(self._segment.control)[64:]
        self._barrier = Barrier(base, control[: size * LINE])
        self._places = control[size * LINE :]
        self._own_place = slice(base.rank * _SLOT, (base.rank + 1) * _SLOT)
        self._published = b""
        self._buffers: list[tuple[int, int, int]] = []  # address, bytes, offset in the file
        self._plans: dict[bytes, Plan | None] = {}
        self._scratch = self.buffer(0, np.uint8)
        self._last: tuple[Array, bytes] | None = None

    def buffer(self, n: int, dtype: Any) -> Array:
        """Make an array (n,) of zeros in shared memory; it lives as long as the communicator.

        Raises
        ------
        NoSharedMemory
            If there is no memory left.
        """
        nbytes = n * np.dtype(dtype).itemsize
        if nbytes == 0 or self._short is not None:
            return np.zeros(n, dtype)
        try:
            offset = self._segment.allocate(nbytes)
        except NoSharedMemory as error:
            if self._must:
                raise
            self._short = error
            return np.zeros(n, dtype)
        array = np.frombuffer(self._segment.map(offset, nbytes), dtype)
        self._buffers.append((_address(array), nbytes, offset))
        return array

    def native_all_reduce(self, array: Array) -> None:
        """See :class:`~course_lib.parallel.comm.Reduces`; `array` must be C-contiguous."""
        if self._last is not None and self._last[0] is array:
            place = self._last[1]
        elif (found := self._place(array)) is not None:
            place = found
            self._last = array, place
        elif (scratch := self._scratch_like(array)) is not None:
            scratch[...] = array
            self.native_all_reduce(scratch)
            array[...] = scratch
            return
        else:
            place = _pack(_NOWHERE, 0, 0, array)
        if place != self._published:
            # Nobody reads this now: the others are not past the next barrier, or past the last.
            self._places[self._own_place] = self._published = place
        self._barrier.wait()
        places = bytes(self._places)
        if places not in self._plans:
            self._remember(places)
        plan = self._plans[places]
        if plan is None:
            # Also a barrier: when the first rank leaves, all have read the places.
            all_reduce(self._base, array, "ordered")
            return
        for first, *others in plan:
            for other in others:
                np.add(first, other, first)
            for other in others:
                np.copyto(other, first)
        self._barrier.wait()

    def close(self) -> None:
        """Leave: other ranks need not wait for this one any more."""
        self._barrier.leave()
        self._plans.clear()
        self._segment.close()

    def _place(self, array: Array) -> bytes | None:
        """Say where the array is, or None if not in shared memory."""
        start = _address(array)
        for base, nbytes, offset in self._buffers if array.nbytes else [(start, 0, 0)]:
            if base <= start and start + array.nbytes <= base + nbytes:
                return _pack(offset, nbytes, start - base, array)
        return None

    def _scratch_like(self, array: Array) -> Array | None:
        """Return shared memory for a copy of the array, or None if there is too little."""
        if self._scratch.nbytes < array.nbytes:
            # Twice as much, so that arrays that grow and grow do not use up the memory.
            larger = self.buffer(2 * array.nbytes, np.uint8)
            if self._short is not None:
                return None
            self._scratch = larger
        return self._scratch[: array.nbytes].view(array.dtype).reshape(array.shape)

    def _remember(self, places: bytes) -> None:
        """Find out what this rank adds, when all ranks' arrays are at these places."""
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        offsets = [_PLACE.unpack_from(places, r * _SLOT)[0] for r in range(self.size)]
        if _NOWHERE not in offsets:
            self._plans[places] = self._plan(places)
            return
        if offsets.index(_NOWHERE) == self.rank and not self._told:
            warnings.warn(f"{self._short} {WITHOUT}", RuntimeWarning, stacklevel=2)
        self._told = True
        self._plans[places] = None

    def _plan(self, places: bytes) -> Plan:
        own = places[self._own_place]
        *_, n, dtype = _PLACE.unpack_from(own)
        arrays = []
        for rank in range(self.size):
            offset, nbytes, start, n_other, other = _PLACE.unpack_from(places, rank * _SLOT)
            if (n_other, other) != (n, dtype):
                raise ValueError(
                    f"all_reduce: rank {self.rank} has an array of {n} numbers, {_name(dtype)}, "
                    f"but rank {rank} has {n_other}, {_name(other)}; all ranks must pass the same."
                )
            memory = self._segment.map(offset, nbytes) if n else b""
            arrays.append(np.frombuffer(memory, _name(dtype), n, start if n else 0))
        return _pieces(arrays, self.rank)


def _pack(offset: int, nbytes: int, start: int, array: Array) -> bytes:
    place = _PLACE.pack(offset, nbytes, start, array.size, array.dtype.str.encode())
    return place.ljust(_SLOT, b"\0")


def _pieces(arrays: list[Array], rank: int) -> Plan:
    """Cut this rank's part out of all arrays, piece by piece."""
    itemsize, size = arrays[0].itemsize, len(arrays)
    line = max(1, 64 // itemsize)
    lines = -(-len(arrays[0]) // line)
    start, stop = (line * (lines * r // size) for r in (rank, rank + 1))
    step = _PIECE // itemsize
    cuts = range(start, min(stop, len(arrays[0])), step)
    return [[array[cut : min(cut + step, stop)] for array in arrays] for cut in cuts]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _name(dtype: bytes) -> str:
    return np.dtype(dtype.rstrip(b"\0").decode()).name
