"""The memory that ranks share is theirs alone, and nothing of it stays, whatever goes wrong."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from course_lib.parallel.channels import connected
from course_lib.parallel.channels.segment import Segment
from course_lib.parallel.collectives import all_reduce
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import ParallelError

if not os.path.isdir("/proc/self/fd"):
    pytest.skip("counts the files that are open in /proc", allow_module_level=True)


def open_files():
    """What this process has open, but for the listing itself and what only waits to be freed."""
    gc.collect()
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return sorted(name for name in found if "/shm/" in name or "course-lib-" in name)


def attempt(comm):
    """Make a segment; return what went wrong, and let go of it."""
    try:
        segment = Segment(comm, 4096)
    except ParallelError as error:
        return str(error)
    segment.close()
    return ""


@pytest.fixture
def named(monkeypatch, tmp_path):
    """A system that has no files without a name, and puts those with one here."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_name_lasts_until_all_have_opened_it_and_no_longer(named):
    assert run_threads(3, attempt) == ["", "", ""]
    assert list(named.iterdir()) == []


@pytest.mark.parametrize("hosts", ["aaa", "aab"])
def test_a_channel_that_is_left_has_no_file_open(hosts):
    def use(comm):
        with connected(comm, host=hosts[comm.rank]) as channel:
            array = channel.buffer(100, np.float64)
            array += comm.rank + 1
            return all_reduce(channel, array)[99], len(open_files()) > len(before)

    before = open_files()
    assert run_threads(3, use) == [(6.0, True)] * 3
    assert open_files() == before


def refuse(monkeypatch, rank, instead):
    """When this rank opens the file of rank 0, it finds something else."""
    open_ = os.open

    def other(path, *rest):
        if threading.current_thread().name == f"rank-{rank}":
            return instead(path)
        return open_(path, *rest)

    monkeypatch.setattr(os, "open", other)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_can_not_open_it_leaves_no_file_open_and_no_name(named, monkeypatch, rank):
    before = open_files()

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    if rank == 0:
        monkeypatch.setattr(os, "pwrite", lambda *_: denied(named))
    else:
        refuse(monkeypatch, rank, denied)
    said = run_threads(2, attempt)
    assert all("the ranks can not share memory" in sentence for sentence in said)
    assert "Permission denied" in said[rank]
    assert open_files() == before and list(named.iterdir()) == []


def test_the_file_of_another_run_under_that_name_is_refused(monkeypatch, tmp_path):
    """In another container, the path would name a file of somebody else."""
    stranger = tmp_path / "stranger"
    stranger.write_bytes(bytes(4096))
    open_ = os.open
    refuse(monkeypatch, 1, lambda path: open_(stranger, os.O_RDWR))
    before = open_files()
    said = run_threads(2, attempt)
    assert "is another file" in said[1] and "another rank could not open it" in said[0]
    assert stranger.read_bytes() == bytes(4096) and open_files() == before


def test_each_rank_has_memory_of_its_own_of_zeros_that_the_others_see():
    def main(comm):
        segment = Segment(comm, 4096)
        places = [segment.allocate(nbytes) for nbytes in (10, 5000, 10)]
        for place in places:
            view = np.frombuffer(segment.map(place, 10), np.uint8)
            assert not view.any()
            view[:] = comm.rank + 1
        for peer in range(comm.size):
            if peer != comm.rank:
                comm.send(peer, "places", np.array(places))
        for peer in range(comm.size):
            if peer != comm.rank:
                for place in comm.recv(peer, "places"):
                    assert bytes(segment.map(int(place), 10)) == bytes([peer + 1] * 10)
        return places

    found = run_threads(3, main)
    assert len({place for places in found for place in places}) == 9


@pytest.fixture
def private(monkeypatch):
    """Let the file's permissions be seen: those that it is made with."""
    modes, open_ = [], os.open

    def noted(path, flags, *mode):
        modes.append(mode)
        return open_(path, flags, *mode)

    monkeypatch.setattr(os, "open", noted)
    return modes


def test_no_other_user_may_open_it(private):
    assert run_threads(1, attempt) == [""]
    assert private == [(0o600,)] or not os.path.isdir("/dev/shm")


def test_the_name_is_forgotten_even_if_a_rank_dies_meanwhile(named, monkeypatch):
    class Died(BaseException):
        pass

    def die(path):
        raise Died

    refuse(monkeypatch, 1, die)
    before = open_files()
    with pytest.raises(ParallelError):
        run_threads(2, attempt, timeout=2.0)
    assert list(Path(named).iterdir()) == [] and open_files() == before


def test_every_byte_is_written_before_it_is_used(monkeypatch):
    """A file that is only declared kills the process where no memory is left behind it."""
    written, write = [], os.pwrite

    def noted(fd, data, offset):
        written.append((offset, len(data)))
        return write(fd, data, offset)

    def main(comm):
        segment = Segment(comm, 4096)
        for nbytes in (1_500_000, 5_000_000):
            written.clear()
            offset = end = segment.allocate(nbytes)
            for start, length in written:
                assert start == end
                end += length
            assert end == offset + nbytes

    monkeypatch.setattr(os, "pwrite", noted)
    run_threads(1, main)


def test_to_let_go_twice_closes_nobody_elses_file():
    def main(comm):
        segment = Segment(comm, 4096)
        fd = segment._fd
        segment.close()
        other = os.open(os.devnull, os.O_RDONLY)
        assert other == fd  # the number is given anew
        segment.close()
        for still_open in (other, 0):
            os.fstat(still_open)  # raises if it is closed
        os.close(other)

    run_threads(1, main)
