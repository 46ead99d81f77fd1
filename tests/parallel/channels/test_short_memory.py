"""Where shared memory is short or can not be written: messages instead, said once, same bits."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import course_lib
from course_lib.parallel.channels import Hierarchical, SharedMemory, connected
from course_lib.parallel.collectives import all_agree, all_reduce, barrier, reduce_scatter
from course_lib.parallel.comm import run_threads
from course_lib.parallel.errors import ParallelError

pytestmark = pytest.mark.timeout(110)


@pytest.fixture
def limit(monkeypatch):
    """Let these ranks, threads of this process, write no more than so many bytes to the memory."""
    write, used = os.pwrite, {}

    def set_to(nbytes, ranks):
        def pwrite(fd, data, offset):
            rank = int(threading.current_thread().name.removeprefix("rank-"))
            used[rank] = used.get(rank, 0) + len(data)
            if rank in ranks and used[rank] > nbytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)

    return set_to


def numbers(rank, n, dtype):
    return (100 * np.random.default_rng(rank).normal(size=n)).astype(dtype)


def sums(channel):
    """The sums of arrays of many sizes, in the channel's memory and in others."""
    found = []
    for n in (0, 1, 500, 3000, 20_000, 3000):
        for dtype in (np.float64, np.float32, np.int64):
            inside, outside = channel.buffer(n, dtype), numbers(channel.rank, n, dtype)
            inside[:] = outside
            assert all_reduce(channel, inside) is inside
            assert all_reduce(channel, outside) is outside
            assert inside.tobytes() == outside.tobytes()
            found.append(inside.tobytes())
            found.append(reduce_scatter(channel, numbers(channel.rank, n, dtype)).sum())
        barrier(channel)
        assert all_agree(channel, True)
        assert not all_agree(channel, channel.rank > 0)
    return found


@pytest.mark.parametrize("hosts", ["aaa", "aab"], ids=["one host", "two hosts"])
@pytest.mark.parametrize("ranks", [{0}, {1}, {0, 1, 2}], ids=str)
@pytest.mark.parametrize("room", [5000, 40_000, 400_000])
def test_auto_sends_what_has_no_room_and_says_so_once(limit, room, ranks, hosts):
    def fn(comm, channel):
        with connected(comm, channel, host=hosts[comm.rank]) as over:
            return type(over), sums(over)

    wanted = run_threads(3, lambda comm: fn(comm, "auto"))
    limit(room, ranks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run_threads(3, lambda comm: fn(comm, "auto"))
    assert found == wanted
    assert found[0][0] is (SharedMemory if hosts == "aaa" else Hierarchical)
    said = [str(w.message) for w in caught]
    assert len(said) == len({hosts[rank] for rank in ranks}), said  # once on each host
    for text in said:
        assert re.match(r"rank \d needs \d+ bytes of memory .* has only \d+ left", text)
        assert text.endswith("This run goes on without: its ranks send messages, and wait longer.")


@pytest.mark.parametrize("channel", ["shared_memory", "hierarchical"])
def test_asked_for_by_name_it_is_an_error_that_counts(limit, channel):
    limit(40_000, {1})

    def fn(comm):
        with connected(comm, channel, host="a") as over:
            return sums(over)

    with pytest.raises(
        ParallelError, match=r"^rank 1 needs \d+ bytes .* has only \d+ left\. Enl"
    ) as e:
        run_threads(3, fn)
    assert "goes on without" not in str(e.value)


def test_no_memory_at_all_is_said_once_too(limit):
    limit(0, {0})
    with pytest.warns(RuntimeWarning, match=r"can not share memory \(rank 0 needs \d+ .*goes on w"):
        found = run_threads(3, lambda comm: fn_without(comm))
    assert found == ["InProcess"] * 3


def fn_without(comm):
    with connected(comm, "auto") as channel:
        assert all_agree(channel, True)
        return type(channel).__name__


def test_what_was_written_in_vain_is_given_back():
    """The rest of the memory is for others, as long as the run goes on."""

    def fn(comm):
        shared = SharedMemory(comm, must=False)
        blocks, written = (lambda: os.fstat(shared._segment._fd).st_blocks), []
        write, before = os.pwrite, blocks()

        def pwrite(fd, data, offset):
            if len(written) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(len(data))
            return write(fd, data, offset)

        os.pwrite = pwrite
        try:
            array = shared.buffer(2_000_000, np.float64)
        finally:
            os.pwrite = write
        assert sum(written) == 3 << 20
        assert len(array) == 2_000_000 and not array.any()
        return blocks() - before

    assert run_threads(1, fn) == [0]


SCRIPT = """
    import os, subprocess, sys, warnings
    import numpy as np
    from course_lib import Adam, mlp
    from course_lib.parallel import train
    from course_lib.parallel.errors import ParallelError

    if __name__ == "__main__":
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(200, 8)), rng.integers(0, 3, 200)
        net = mlp([8, 2000, 3])
        options = dict(optimizer=Adam(0.01), batch_size=50, seed=1, epochs=2, timeout=60)
        quiet = train(net, (x, y), comm="inprocess", **options).digests
        subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[1], "tmpfs", "/dev/shm"], check=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                print("same bits", train(net, (x, y), comm=sys.argv[2], **options).digests == quiet)
            except ParallelError as error:
                print(type(error).__name__, error)
        print("warnings", *(w.message for w in caught if w.category is RuntimeWarning))
        print("left", os.listdir("/dev/shm"))
"""


@pytest.mark.parametrize(
    ("mount", "comm", "first", "warned"),
    [
        ("size=10m", "auto", "same bits True", ""),
        ("size=300k", "auto", "same bits True", "needs 192024 bytes of memory that the ranks"),
        ("size=64k", "auto", "same bits True", "needs 192024 bytes of memory that the ranks"),
        ("size=300k", "shared_memory", "needs 192024 bytes of memory that the ranks share", ""),
        ("size=10m,ro", "auto", "semaphores, which Linux keeps in /dev/shm, and they can n", ""),
        ("size=4k", "dask", "semaphores, which Linux keeps in /dev/shm, and they can not be", ""),
    ],
)
def test_a_private_cluster_with_a_small_or_read_only_dev_shm(mount, comm, first, warned, tmp_path):
    pytest.importorskip("distributed")
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs Linux, the superuser and the command unshare, to mount a /dev/shm")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this machine mounts nothing for a single process")
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = os.environ | {
        "PYTHONPATH": str(Path(course_lib.__file__).parents[1]), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "script.py", mount, comm],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result, said, left = done.stdout.splitlines()
    assert first in result
    assert warned in said and said.count("needs") == bool(warned)
    assert left == "left []"
    assert "main()" not in done.stdout + done.stderr
