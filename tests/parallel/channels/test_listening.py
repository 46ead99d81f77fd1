"""Whatever runs in parallel listens on the address of the run, and on no other network."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

import psutil
from distributed import Client, LocalCluster

import course_lib
from course_lib import SGD, mlp, parallel
from course_lib.parallel import search
from course_lib.parallel.channels import CHANNELS

pytestmark = pytest.mark.timeout(240)
X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2


def listening():
    """The addresses on which this process and all that it has started listen."""
    found = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            connections = process.net_connections("inet")
        except psutil.Error:  # it has just ended
            continue
        found |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def own_address():
    """An address of this machine that is not the loopback's, and no other's in the test's way."""
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family == socket.AF_INET and not entry.address.startswith("127."):
                return entry.address
    pytest.skip("this machine has no address but the loopback's")


def train(channel, seen, **options):
    options = {"epochs": 2, "batch_size": 10, "workers": 2, "timeout": 200} | options
    return parallel.train(
        mlp([3, 2]), (X, Y), optimizer=SGD(0.1), comm=channel,
        on_event=lambda event: seen.update(listening()), stop=linger, **options,
    )  # fmt: skip


def linger(history):
    """Keep the ranks where they are while this process looks."""
    time.sleep(0.5)
    return False


def train_ddp(seen, **options):
    torch = pytest.importorskip("torch")
    from course_lib.parallel import torch_ddp

    rows = torch.utils.data.TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(Y))
    torch_ddp.train(
        torch.nn.Linear(3, 2), rows, torch.nn.CrossEntropyLoss(reduction="none"),
        torch.optim.Adam, epochs=20, batch_size=10, device="cpu", timeout=200,
        on_event=lambda event: seen.update(listening()), **{"workers": 2} | options,
    )  # fmt: skip


def objective(trial):
    return -trial.config["lr"]


def try_rates(seen):
    search.grid(
        objective, {"lr": [0.1, 0.2, 0.3]}, workers=2, comm="dask",
        on_event=lambda row: seen.update(listening()),
    )  # fmt: skip


RUNS = {name: lambda seen, name=name: train(name, seen) for name in CHANNELS if name != "nccl"}
RUNS |= {"torch_ddp": train_ddp, "search": try_rates}


@pytest.mark.parametrize("what", RUNS)
def test_a_private_cluster_listens_on_this_machine_only(what):
    if what == "gloo":
        pytest.importorskip("torch")
    seen = set()
    RUNS[what](seen)
    assert seen
    assert all(ipaddress.ip_address(address).is_loopback for address in seen), seen


@pytest.mark.parametrize("what", ["gloo", "torch_ddp"])
def test_pytorch_listens_where_the_workers_do_and_not_where_the_host_name_points(what):
    pytest.importorskip("torch")
    address, seen = own_address(), set()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host=address, dashboard_address=f"{address}:0"
    ) as cluster, Client(cluster, set_as_default=False) as client:  # fmt: skip
        before = listening()
        if what == "gloo":
            train("gloo", seen, client=client)
        else:
            train_ddp(seen, client=client)
    assert seen - before <= {address}


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@pytest.fixture
def two_hosts():
    """How a command begins on each of two hosts, joined by a cable and both named localhost."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs Linux, the superuser and the command ip, to make two networks")
    names = [f"course-{os.getpid()}-{i}" for i in range(2)]
    cable = [f"v{os.getpid() % 10**8}{letter}" for letter in "ab"]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no networks of its own: {error.stderr}")
        for i, (name, end) in enumerate(zip(names, cable, strict=True)):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "address", "add", f"10.213.77.{i + 1}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        named = ["unshare", "--uts", "sh", "-c", 'hostname localhost; exec "$@"', "sh"]
        yield [["ip", "netns", "exec", name, *named, sys.executable] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


TRAIN = """
    import sys
    import numpy as np
    from course_lib import SGD, mlp
    from course_lib.parallel import train

    if __name__ == "__main__":
        x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
        options = dict(optimizer=SGD(0.1), epochs=2, batch_size=10, timeout=200)
        there = train(mlp([3, 2]), (x, y), comm="gloo", client="tcp://10.213.77.1:8786", **options)
        here = train(mlp([3, 2]), (x, y), comm="inprocess", **options)
        print(there.replicas_identical, there.theta.tobytes() == here.theta.tobytes())
"""


def test_gloo_between_two_hosts_whose_names_stand_for_127_0_0_1(two_hosts, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "script.py").write_text(textwrap.dedent(TRAIN))
    environment = os.environ | {
        "PYTHONPATH": str(Path(course_lib.__file__).parents[1]), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    quiet = {"cwd": tmp_path, "env": environment, "stderr": subprocess.DEVNULL}
    dashboard = ["--dashboard-address", "127.0.0.1:0"]
    started = []
    try:
        command = ["-m", "distributed.cli.dask_scheduler", "--host", "10.213.77.1", *dashboard]
        started.append(subprocess.Popen([*two_hosts[0], *command], **quiet))
        for i, host in enumerate(two_hosts):
            command = [
                "-m", "distributed.cli.dask_worker", "tcp://10.213.77.1:8786", "--no-nanny",
                "--nthreads", "1", "--host", f"10.213.77.{i + 1}", *dashboard,
                "--local-directory", str(tmp_path / str(i)),
            ]  # fmt: skip
            started.append(subprocess.Popen([*host, *command], **quiet))
        run = subprocess.run(
            [*two_hosts[0], "script.py"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=230,
        )  # fmt: skip
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert run.stdout.split() == ["True", "True"], run.stderr[-2000:]
