"""A Dask cluster of separate processes, on this machine only: a scheduler and three workers.

Each part can be killed and frozen, is started again if it is gone, and ends with this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from tests.patience import patient
from tools.soak.place import die_with_parent, kill_tree

WORKERS = 3

MEMORY = 1_000_000_000  # bytes of one worker

# Seconds on a quiet machine after which Dask itself gives up: what a killed driver holds, and a
# worker from which nothing is heard.
_LEASE, _SILENCE = 2.0, 15.0


class Cluster:
    """See the file; to be used as a context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nannies: list[subprocess.Popen[bytes]] = []
        self.client: Any = None
        self.address = ""

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all of it."""
        contact = self.folder / "scheduler.json"
        contact.unlink(missing_ok=True)
        self.scheduler = self._popen("scheduler", "--port", "0", "--scheduler-file", str(contact))
        self.nannies = [self._worker(contact) for _ in range(WORKERS)]
        wait_until(contact.exists, patient(20), "the scheduler did not start")
        while not self.address:
            with suppress(ValueError):  # not whole yet
                self.address = json.loads(contact.read_text())["address"]
        self.client = Client(self.address, timeout=patient(20), set_as_default=False)
        self.client.wait_for_workers(WORKERS, timeout=patient(20))

    def whole(self) -> None:
        """Wait until it is complete; replace what has ended, or all if that is not enough."""
        if self.scheduler is not None and self.scheduler.poll() is None:
            with suppress(Exception):
                for nanny in [n for n in self.nannies if n.poll() is not None]:
                    self.nannies.remove(nanny)
                    self.nannies.append(self._worker(self.folder / "scheduler.json"))
                wait_until(lambda: self._workers() == WORKERS, patient(10), "workers are missing")
                return
        self.close()
        self.start()

    def close(self) -> None:
        """End all of it, the hard way."""
        if self.client is not None:
            # Not close(), which would wait for a scheduler that is frozen.
            with suppress(Exception):
                self.client.close(timeout=1)
            self.client = None
        for process in [*self.nannies, *([self.scheduler] if self.scheduler else [])]:
            kill_tree(process.pid)
            process.wait()
        self.nannies, self.scheduler, self.address = [], None, ""

    def victim(self, rank: int) -> str:
        """Return the address of the worker that runs a rank, or that will probably run it."""
        busy = {}
        for address, tasks in self.client.processing().items():
            for task in tasks:
                name, _, number = str(task).rpartition("-")
                if name.startswith("rank-"):
                    busy[int(number)] = address
        if rank in busy:
            return str(busy[rank])
        tasks = {a: len(keys) for a, keys in self.client.processing().items()}
        return str(sorted(tasks, key=lambda a: (-tasks[a], a))[rank])

    def pid(self, address: str) -> int:
        """Return the process of a worker."""
        return int(self.client.run(os.getpid, workers=[address])[address])

    def nanny(self, worker: int) -> int:
        """Return the process that watches over the process of a worker."""
        ours = {nanny.pid for nanny in self.nannies}
        [found] = [p.pid for p in psutil.Process(worker).parents() if p.pid in ours]
        return found

    def _workers(self) -> int:
        # Not nthreads(), which has no limit of time.
        return len(self.client.sync(self.client.scheduler.ncores, callback_timeout=patient(5)))

    def _worker(self, contact: Path) -> subprocess.Popen[bytes]:
        return self._popen(
            "worker", "--scheduler-file", str(contact), "--nthreads", "1", "--nanny",
            "--memory-limit", str(MEMORY), "--local-directory", str(self.folder),
            "--death-timeout", "120",
        )  # fmt: skip

    def _settings(self) -> dict[str, str]:
        scheduler = "DASK_DISTRIBUTED__SCHEDULER__"
        return {
            f"{scheduler}LOCKS__LEASE_TIMEOUT": f"{patient(_LEASE):.0f}s",
            f"{scheduler}LOCKS__LEASE_VALIDATION_INTERVAL": "1s",
            f"{scheduler}WORKER_TTL": f"{patient(_SILENCE):.0f}s",
            f"{scheduler}ALLOWED_FAILURES": "0",
            # What Dask and PyTorch keep in files is none of the package's.
            "DASK_TEMPORARY_DIRECTORY": str(self.folder),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "torch"),
            "OMP_NUM_THREADS": "1",
        }

    def _popen(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        here = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{program}", *here, *options],
                env=os.environ | self._settings(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent,
            )  # fmt: skip


def wait_until(condition: Callable[[], object], seconds: float, late: str) -> None:
    """Wait for a condition, or raise TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{late} within {seconds:g} s")
        time.sleep(0.05)
