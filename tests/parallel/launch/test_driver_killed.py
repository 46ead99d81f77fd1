"""The driver is killed: its ranks stop, and a new driver goes on to the same bits."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import dask
import distributed
import numpy as np
import psutil

import course_lib
from course_lib import Adam, mlp
from course_lib.checkpoint import latest_valid
from course_lib.parallel import gang, train
from tests.patience import patient

pytestmark = [
    # What a process was writing when it was killed is passed over, and rightly mentioned.
    pytest.mark.filterwarnings("ignore:skipping step:RuntimeWarning"),
]

SCRIPT = """
import sys, time
import numpy as np
from course_lib import Adam, mlp
from course_lib.parallel import train

def main(folder, address):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(400, 7)), rng.integers(0, 3, 400)
    net = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
    result = train(
        net, (x, y), optimizer=Adam(0.01), batch_size=10, seed=5, epochs=12, workers=2,
        client=address or None, checkpoint=folder, every=7, timeout=60,
        on_event=lambda e: print(e.kind, e.step, flush=True),
    )
    print("sha256", result.digests[0], flush=True)

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def driver(tmp_path, address=""):
    """Start a training in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "run"), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )


def kill_in_the_middle(process, checkpoints):
    """Kill a driver after some checkpoints; return its child processes."""
    seen = 0
    for line in process.stdout:
        seen += line.startswith("checkpoint")
        if seen == checkpoints:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    process.communicate()
    return children


@pytest.fixture(scope="module")
def digest():
    """The bits of the undisturbed training."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(400, 7)), rng.integers(0, 3, 400)
    net = mlp([7, 6, 3], hidden="tanh", dropout=0.3)
    options = {"optimizer": Adam(0.01), "batch_size": 10, "seed": 5, "epochs": 12, "workers": 2}
    return train(net, (x, y), comm="inprocess", **options).digests[0]


def test_a_driver_with_its_own_cluster_leaves_no_process_and_is_resumed(tmp_path, digest):
    children = kill_in_the_middle(driver(tmp_path), 5)
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    step = latest_valid(tmp_path / "run").step
    assert 0 < step < 480
    again = driver(tmp_path)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert f"sha256 {digest}" in out
    first = next(line for line in out.splitlines() if line.startswith("checkpoint"))
    assert int(first.split()[1]) == step + 7


def test_the_ranks_of_a_killed_driver_stop_and_free_their_workers(tmp_path, digest, monkeypatch):
    """On a cluster that outlives the driver; the workers' locks end by themselves."""
    locks = "distributed.scheduler.locks"
    fast = {f"{locks}.lease-timeout": "2s", f"{locks}.lease-validation-interval": "0.5s"}
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__LOCKS__LEASE_TIMEOUT", "2s")
    with (
        dask.config.set(fast),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        workers = set(client.nthreads())
        kill_in_the_middle(driver(tmp_path, client.scheduler.address), 3)
        killed = time.monotonic()
        # The only thread of each worker is free again: its rank has stopped.
        assert gang(client, lambda comm: comm.rank, 2, timeout=40) == [0, 1]
        assert time.monotonic() - killed < patient(20)
        assert set(client.nthreads()) == workers  # the same processes
        assert latest_valid(tmp_path / "run").step < 480
        again = driver(tmp_path, client.scheduler.address)
        out, err = again.communicate(timeout=60)
        assert again.returncode == 0, err
        assert f"sha256 {digest}" in out
