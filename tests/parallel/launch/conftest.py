"""A cluster whose scheduler and workers are processes of their own, to be stopped or killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import course_lib


class ByHand:
    """Starts a scheduler at once, and workers when asked; one that is killed is not replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        self.contact = folder / "scheduler.json"
        self.scheduler = self.start_scheduler()

    def start_scheduler(self, port: str = "0"):
        return self._popen("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port)

    def worker(self, *options: str):
        nannies = () if "--nanny" in options else ("--no-nanny",)
        return self._popen(
            "distributed.cli.dask_worker", "--nthreads", "1", "--host", "127.0.0.1", *nannies,
            *options,
        )  # fmt: skip

    @property
    def address(self) -> str:
        while True:
            try:
                return json.loads(self.contact.read_text())["address"]
            except (OSError, ValueError):  # not there yet, or not whole
                time.sleep(0.05)

    def _popen(self, *command: str):
        here = ("--dashboard-address", "127.0.0.1:0")  # --no-dashboard listens all the same
        with (self.folder / f"{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *here, "--scheduler-file", str(self.contact)],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process


@pytest.fixture
def by_hand(tmp_path):
    """One such cluster, killed at the end."""
    cluster = ByHand(tmp_path)
    yield cluster
    for process in reversed(cluster.started):
        process.kill()
    for process in cluster.started:
        process.wait(10)
