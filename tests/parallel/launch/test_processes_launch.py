"""Processes that this one starts: frozen ones, interrupted ones, and those that can not start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import course_lib
from course_lib.parallel.errors import CommTimeout, ParallelError
from course_lib.parallel.launch import run_processes
from tests.interrupts import started
from tests.patience import patient

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}


def stop(comm):
    os.kill(os.getpid(), signal.SIGSTOP)


def stop_in_a_message(comm):
    os.write(comm._driver.fileno(), (1000).to_bytes(4, "big") + b"half")
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize("frozen", [stop, stop_in_a_message])
def test_a_frozen_process_is_noticed_though_nobody_waits_for_it(quick_processes, frozen):
    start = time.monotonic()
    with pytest.raises(CommTimeout, match=r"process of rank 0 did not answer for 1 s: .* stopped"):
        run_processes(1, frozen, timeout=1)
    assert time.monotonic() - start < patient(20)


def compute(comm, seconds):
    time.sleep(seconds)
    comm.report({"rank": comm.rank})
    return comm.rank


def test_processes_may_compute_for_longer_than_a_wait_may_take(quick_processes):
    seen = []
    assert run_processes(2, compute, 3.5, timeout=1, on_report=seen.append) == [0, 1]
    assert sorted(report["rank"] for report in seen) == [0, 1]


def in_a_pool(what):
    if what == "train":
        pytest.importorskip("distributed")
        from course_lib import SGD, mlp
        from course_lib.parallel import train

        train(mlp([1, 1], loss="mse"), ([[1.0]], [[1.0]]), optimizer=SGD(0.1), epochs=1,
              batch_size=1, workers=1)  # fmt: skip
    run_processes(1, compute, 0.0)


@pytest.mark.parametrize("what", ["train", "run_processes"])
def test_a_process_that_must_not_start_others_says_so_at_once(what):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(
            ParallelError, match=r"one that must not start others.*comm='inprocess'"
        ):
            pool.apply_async(in_a_pool, (what,)).get(timeout=patient(60))


SCRIPT = """
import sys, time
from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.comm import Comm
from course_lib.parallel.launch import run_processes

def forever(comm):
    if comm.rank == 0:
        comm.report({"started": True})
    while True:
        time.sleep(0.1)
        comm.check()

def main(what):
    heard = lambda _: print("started", flush=True)
    if what == "run_processes":
        run_processes(2, forever, on_report=heard)
    import numpy as np
    x = np.ones((64, 1))
    net = mlp([1, 1], loss="mse")
    train(net, (x, x), optimizer=SGD(0.1), epochs=10**9, batch_size=1, workers=2, on_event=heard)

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("what", ["train", "run_processes"])
def test_ctrl_c_ends_all_processes_and_prints_one_traceback(what, tmp_path):
    """A terminal sends it to the whole group of processes."""
    if what == "train":
        pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with started([sys.executable, script, what], env=ENVIRONMENT) as driver:
        assert driver.stdout.readline() == "started\n"
        children = psutil.Process(driver.pid).children(recursive=True)
        assert len(children) >= 2
        os.killpg(driver.pid, signal.SIGINT)
        _, err = driver.communicate(timeout=patient(40))
    assert err.count("Traceback") == 1 and "Process" not in err
    expected = {"train": "KeyboardInterrupt: train: interrupted; its ranks were stopped."}
    assert err.splitlines()[-1] == expected.get(what, "KeyboardInterrupt")
    assert len(err.splitlines()) < 25
    _, alive = psutil.wait_procs(children, timeout=patient(10))
    assert not alive


@pytest.mark.parametrize("what", ["train", "run_processes"])
def test_a_script_from_the_standard_input_is_told_what_is_true(what, tmp_path):
    if what == "train":
        pytest.importorskip("distributed")
    script = SCRIPT.replace("sys.argv[1]", repr(what))
    run = subprocess.run(
        [sys.executable], input=script, capture_output=True, text=True, env=ENVIRONMENT,
        timeout=patient(40),
    )  # fmt: skip
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert "'<stdin>' is no file: it was read from the standard input" in last
    assert "start it as `python script.py`" in last
    assert "so that only the first process" not in run.stderr


NESTED = """
import numpy as np
from joblib import Parallel, delayed
from course_lib import SGD, mlp
from course_lib.parallel import train
from course_lib.parallel.launch import run_processes
from course_lib.parallel.collectives import all_agree

def inside(what):
    if what == "run_processes":
        return run_processes(2, all_agree, True)
    x = np.linspace(-1, 1, 20)[:, None]
    net, how = mlp([1, 1], loss="mse"), {"epochs": 2, "batch_size": 5, "optimizer": SGD(0.1)}
    return bool(np.allclose(
        train(net, (x, x), workers=2, **how).theta,
        train(net, (x, x), workers=1, comm="inprocess", **how).theta, rtol=1e-12,
    ))

if __name__ == "__main__":
    for what in ("run_processes", "train"):
        print(Parallel(n_jobs=2)(delayed(inside)(what) for _ in range(2)))
"""


def test_processes_can_be_started_inside_a_worker_of_joblib(tmp_path):
    """It makes its own way of starting processes the default, which theirs do not know."""
    pytest.importorskip("distributed")
    pytest.importorskip("joblib")
    (tmp_path / "nested.py").write_text(NESTED)
    run = subprocess.run(
        [sys.executable, "nested.py"], capture_output=True, text=True, env=ENVIRONMENT,
        cwd=tmp_path, timeout=patient(60),
    )  # fmt: skip
    assert run.stdout.splitlines() == ["[[True, True], [True, True]]", "[True, True]"], run.stderr
