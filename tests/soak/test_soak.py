"""The soak bites: what goes wrong in a training is called by its name, and nothing outlives it."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("distributed")
pytest.importorskip("torch")

import psutil

from course_lib.parallel.errors import RankFailed
from course_lib.parallel.strategies.table import STRATEGIES
from tests.interrupts import hear_interrupts
from tests.patience import patient
from tools.soak import lane, place, strikes, trainings
from tools.soak.__main__ import GOOD, Lane, Soak
from tools.soak.plan import ALL, CLUSTER, FAULTS, OTHERS, Job, jobs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc as in Linux")

RAISES = Job(0, "zero1", "threads", "exception", 3, 1)


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A lane in this process, without a cluster."""
    monkeypatch.setenv("TMPDIR", "")
    for module, name in ((lane.tempfile, "tempdir"), (strikes.InProcess, "_deliver")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(lane, "hurry", lambda timeout: None)
    monkeypatch.setattr(lane, "_CLEARING", 0.2)
    return lane.Lane(tmp_path, mounts=False)


def test_an_exception_is_an_error_and_then_the_same_bits(inside):
    found = inside.run(RAISES)
    assert found["verdict"] == "error, then same bits", found
    assert "ArithmeticError: ordered by the soak" in found["error"]
    assert found["leaks"] == []


@pytest.mark.parametrize("moment", [3, 4, 8])
def test_parameters_that_are_not_numbers_are_not_saved(inside, moment, monkeypatch):
    """In the last step before a checkpoint, where no loss has told of them yet."""

    def update(self, theta, *rest):
        honest(self, theta, *rest)
        if self.poison and rest[2] == 5 * moment:
            theta[...] = float("nan")

    honest = trainings.Adam._update
    monkeypatch.setattr(trainings.Paced, "_update", update)
    monkeypatch.setattr(trainings.Paced, "poison", True, raising=False)
    options = {"comm": "inprocess", "checkpoint": inside.disk / "run"}
    with pytest.raises(RankFailed, match="parameters are not finite after"):
        trainings.train_network("sync", **options)
    monkeypatch.setattr(trainings.Paced, "poison", False)
    quiet = trainings.train_network("sync", comm="inprocess").digest
    assert trainings.train_network("sync", **options).digest == quiet


@pytest.mark.parametrize("job", [RAISES, RAISES._replace(fault="message late")], ids=str)
def test_other_bits_are_called_wrong(inside, job, monkeypatch):
    def train(name, **options):
        found = honest(name, **options)
        return found if found.digest == quiet else replace(found, digest="0" * 64)

    honest = trainings.train_network
    quiet = honest(job.program, comm="inprocess").digest
    monkeypatch.setattr(trainings, "train_network", train)
    assert inside.run(job)["verdict"] in GOOD
    quiet = ""
    assert inside.run(job)["verdict"] == "wrong bits"


def leave_process():
    process = subprocess.Popen(["sleep", "60"])

    def end():
        process.kill()
        process.wait()

    return end


def leave_thread():
    over = threading.Event()
    threading.Thread(target=over.wait, name="rank-0").start()
    return over.set


def leave_file():
    Path(os.environ["TMPDIR"], "left").touch()
    return lambda: None


def leave_memory():
    file = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)
    return lambda: os.close(file)


@pytest.mark.parametrize(
    ("leave", "name"),
    [
        (leave_process, "process sleep 60"),
        (leave_thread, "thread rank-0"),
        (leave_file, "temporary file left"),
        (leave_memory, "shared memory /dev/shm/#"),
    ],
    ids=["process", "thread", "file", "memory"],
)
def test_what_is_left_behind_is_called_a_leak_and_named(inside, leave, name, monkeypatch):
    ends = []

    def train(program, **options):
        if "checkpoint" in options and not ends:
            ends.append(leave())
        return honest(program, **options)

    honest = trainings.train_network
    monkeypatch.setattr(trainings, "train_network", train)
    try:
        found = inside.run(RAISES)
    finally:
        [end] = ends
        end()
    assert found["verdict"] == "leak"
    [left] = found["leaks"]
    assert left.startswith(name)


def test_another_error_than_that_of_the_fault_is_wrong(inside, monkeypatch):
    def train(name, **options):
        if options.get("on_event") is not None:
            options["on_event"].struck = True
            raise KeyError("betas")
        return honest(name, **options)

    honest = trainings.train_network
    monkeypatch.setattr(trainings, "train_network", train)
    found = inside.run(RAISES)
    assert found["verdict"] == "wrong error"
    assert found["error"] == "KeyError: 'betas'"


def test_a_fault_that_comes_too_late_is_not_counted(inside):
    assert inside.run(RAISES._replace(moment=99))["verdict"] == "no fault"


def gone(pid):
    """A process that was killed takes a moment to end."""
    deadline = time.monotonic() + patient(10)
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid):
    """Whether a process runs; one that has ended may still wait for somebody to take note."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


HANGS = """
import signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
sys.stdin.readline()
print(child.pid, file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, lambda *_: print("here it hangs", file=sys.stderr, flush=True))
while True:
    time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("script", "verdict"), [(HANGS, "hang"), ("input()", "lane died")], ids=["hang", "death"]
)
def test_a_hang_is_measured_and_ended_with_all_below_it(script, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "command", lambda *_: [sys.executable, "-c", script])
    outside = Lane(tmp_path, False, 2.0, threading.Event())
    start = time.monotonic()
    found = outside.run(RAISES)
    assert found["verdict"] == verdict
    assert found["program"] == "zero1"
    if verdict == "hang":
        assert time.monotonic() - start >= 2.0
        pid, note = found["note"].split(maxsplit=1)
        assert note.strip() == "here it hangs"
        gone(int(pid))


def test_the_plan_is_the_same_for_a_seed_and_meets_everything():
    first = list(itertools.islice(jobs(1), 100))
    assert first == list(itertools.islice(jobs(1), 100)) != list(itertools.islice(jobs(2), 100))
    for number, job in enumerate(first):
        fault = FAULTS[job.fault]
        assert job.number == number
        assert job.program in fault.programs and fault.first <= job.moment <= fault.last
        assert job.channel in fault.channels or job.program in ("ddp", "search")
    assert [job.fault for job in first[: len(FAULTS)]] == list(FAULTS)  # each once a round
    assert {job.program for job in first} == set(ALL)
    assert {job.channel for job in first} == {*CLUSTER, *OTHERS}
    assert {name.partition(":")[0] for name in ALL} >= set(STRATEGIES)


def small_soak(mounts):
    """What came out, and whether what was running before still is, and nothing else."""
    plan = [
        Job(0, "powersgd:2", "threads", "messages overtake", 0, 0),
        Job(1, "local:4", "threads", "rank dies", 4, 1),
        Job(2, "pipeline:2:4", "threads", "message dropped", 3, 0),
        Job(3, "server:0", "auto", "worker killed", 3, 1),
        Job(4, "topk:0.2", "dask", "message late", 2, 1),
        Job(5, "virtual:4", "shared_memory", "disk full" if mounts else "exception", 4, 0),
    ]
    soak = Soak(iter(plan), seconds=patient(200))
    with subprocess.Popen(["sleep", "600"]) as other:
        before = psutil.Process().children()
        soak.run(1, mounts)
        alone = alive(other.pid) and before == psutil.Process().children()
        other.kill()
    return soak.found, alone


def test_a_small_soak_ends_well():
    """The same way as the large one, on a cluster of its own and without one.

    In a process of its own: it takes note of the end of all processes that it is the parent of.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        found, alone = pool.submit(small_soak, place.can_mount()).result()
    assert [(job["number"], job["verdict"] in GOOD) for job in found] == [
        (number, True) for number in range(6)
    ], found
    assert alone


def test_ctrl_c_ends_all_of_it(root, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.soak", "--lanes", "1", "--out", str(tmp_path / "out.json")],
        env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + patient(60)
        while len(below := psutil.Process(process.pid).children(recursive=True)) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=patient(60))
    finally:
        process.kill()
    assert "Interrupted; nothing is written." in said
    assert not [child for child in below if alive(child.pid)]
    assert list(tmp_path.iterdir()) == []
