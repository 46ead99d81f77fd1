"""A lane runs one job after the other, each against the bits of the quiet run, and looks for leaks.

It reads jobs and writes what became of them, one line of JSON each. Whoever has started it measures
the time, and ends it when a job takes too long.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import multiprocessing.resource_tracker
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from course_lib.parallel.faults import Faults
from course_lib.parallel.training import driver as training_driver
from tests.patience import patient
from tools.soak import place, trainings
from tools.soak.cluster import WORKERS, Cluster
from tools.soak.driver import hurry
from tools.soak.plan import AT_START, FAULTS, ORDERED, Job
from tools.soak.strikes import frozen, strike

# On a quiet machine: seconds that a training waits for one message; until what a job leaves counts
# as left for good.
_TIMEOUT, _CLEARING = 4.0, 8.0


class Lane:
    """A folder with room for checkpoints, and a cluster that is started when it is needed."""

    def __init__(self, folder: Path, mounts: bool) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir()
        if mounts:
            place.mount_small(self.disk)
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(self.temporary)
        self.cluster = Cluster(folder)
        self.at_restart: threading.Timer | None = None
        self.timeout = _TIMEOUT
        self._quiet: dict[str, str] = {}
        self._ports: dict[str, int] = {}
        self._dead: set[str] = set()
        multiprocessing.resource_tracker.ensure_running()
        self._ours = {child.pid for child in psutil.Process().children()}
        self._shared = place.shared(place.tree())

    def run(self, job: Job) -> dict[str, Any]:
        """Run a job; return what became of it."""
        self.timeout = min(patient(_TIMEOUT), 10 * _TIMEOUT)
        hurry(self.timeout)
        if job.channel not in ("threads", "processes") or job.program == "ddp":
            self.cluster.whole()
        for folder in (self.disk, self.temporary):
            place.emptied(folder)
        quiet = self._digest(job)
        start = time.monotonic()
        if job.fault.startswith("driver"):
            found = self._with_driver(job)
        else:
            found = self._with_strike(job)
        if found.pop("digest", quiet) != quiet:
            found["verdict"] = "wrong bits"
        found["seconds"] = round(time.monotonic() - start, 1)
        found["leaks"] = self._leaks(job)
        if found["leaks"] and found["verdict"] in ("same bits", "error, then same bits"):
            found["verdict"] = "leak"
        return job._asdict() | found

    def rank_process(self, rank: int) -> int:
        """Return the process of a rank that has no cluster."""
        processes = sorted(p.pid or 0 for p in multiprocessing.active_children())
        return processes[rank]

    def _digest(self, job: Job) -> str:
        """Return the bits of the training without a fault."""
        if job.program not in self._quiet:
            run = trainings.program(job.program)
            where: dict[str, Any] = {"comm": "inprocess"}
            if job.program == "ddp":
                where = {"client": self.cluster.address}
            self._quiet[job.program] = run(**where).digest
        return self._quiet[job.program]

    def _attempt(self, job: Job, on_event: Any = None) -> trainings.Outcome:
        """Call the training, as a user would."""
        folder = str(self.disk / "run")
        if job.channel == "processes":
            return trainings.train_on_processes(job.program, folder, self.timeout, on_event)
        options: dict[str, Any] = {"timeout": self.timeout, "on_event": on_event}
        if job.program != "search":
            options |= {"checkpoint": folder, "max_restarts": 4}
        if job.channel == "threads":
            options["comm"] = "inprocess"
        else:
            options["client"] = self.cluster.address
            if job.program not in ("ddp", "search"):
                options["comm"] = job.channel
        return trainings.program(job.program)(**options)

    def _with_strike(self, job: Job) -> dict[str, Any]:
        error = None
        with self._trouble(job) as trigger:
            try:
                outcome = self._attempt(job, trigger)
                too_late = not trigger.struck or self._not_obeyed(job)
                if job.fault == "rank dies":
                    too_late = outcome.restarts == 0
            except Exception as raised:
                error = raised
                text = f"{type(error).__name__}: {error}"
                note = traceback.format_exc()
        if error is None:
            if too_late or trigger.failed:
                return {"verdict": "no fault", "digest": outcome.digest}
            return {
                "verdict": "same bits", "digest": outcome.digest, "restarts": outcome.restarts,
            }  # fmt: skip
        fault = FAULTS[job.fault]
        at_start = AT_START if job.moment == 0 and fault.kind == "stillness" else ""
        expected = fault.error or at_start
        good = bool(expected and re.search(expected, text, re.DOTALL))
        found: dict[str, Any] = {"error": text[:300]}
        if not good:
            found |= {"verdict": "wrong error", "note": note[-2000:]}
        return found | self._second_call(job, "error, then same bits" if good else "wrong error")

    def _not_obeyed(self, job: Job) -> bool:
        """Whether what was ordered was not done before the training had ended."""
        if job.fault not in ORDERED:
            return False
        left = trainings.withdraw()
        if job.channel != "threads":
            answers = self.cluster.client.run(trainings.withdraw, on_error="ignore")
            left += [name for names in answers.values() for name in names]
        return bool(left)

    def _second_call(self, job: Job, verdict: str) -> dict[str, Any]:
        """Call the training again, after what was broken has been put right."""
        trainings.withdraw()
        if job.channel not in ("threads", "processes"):
            self.cluster.whole()
        try:
            return {"verdict": verdict, "digest": self._attempt(job).digest}
        except Exception as error:
            note = traceback.format_exc()
            text = f"second call: {type(error).__name__}: {error}"
            return {"verdict": "wrong error", "error": text[:300], "note": note[-2000:]}

    @contextmanager
    def _trouble(self, job: Job) -> Iterator[Trigger]:
        """See to it that the fault comes at its moment; put right at the end what it has broken."""
        with ExitStack() as broken:
            trigger = Trigger(self, job, broken)
            if job.fault in ("rank dies", "messages overtake"):
                dying = {job.rank: 10 * job.moment} if job.fault == "rank dies" else {}
                faults = Faults(delay=0.005, death=dying, seed=job.number)
                run = training_driver.run_threads
                training_driver.run_threads = partial(run, faults=faults)
                broken.callback(setattr, training_driver, "run_threads", run)
                trigger.struck = True
            elif job.fault == "shared memory full":
                trigger.fire()
            elif job.moment == 0:
                delay = np.random.default_rng(job.number).uniform(0.0, 1.0)
                timer = threading.Timer(delay, trigger.fire)
                timer.start()
                broken.callback(timer.join)
                broken.callback(timer.cancel)
            yield trigger

    def _with_driver(self, job: Job) -> dict[str, Any]:
        """Run the training in a process of its own, and do to it what the job says."""
        arguments = {
            "program": job.program, "client": None if job.private else self.cluster.address,
            "comm": job.channel, "checkpoint": str(self.disk / "run"), "timeout": self.timeout,
        }  # fmt: skip
        with tempfile.TemporaryFile("w+", dir=self.cluster.folder) as complaints:
            process = subprocess.Popen(
                [sys.executable, "-m", "tools.soak.driver", json.dumps(arguments)],
                stdout=subprocess.PIPE, stderr=complaints, text=True,
                preexec_fn=place.die_with_parent,
            )  # fmt: skip
            assert process.stdout is not None
            if job.moment == 0:
                time.sleep(np.random.default_rng(job.number).uniform(0.5, 4.0))
            seen, digest = 0, None
            while seen < job.moment and (line := process.stdout.readline()):
                seen += line.startswith("checkpoint")
            if process.poll() is not None:
                complaints.seek(0)
                return {"verdict": "no fault", "note": complaints.read()[-2000:]}
            with ExitStack() as broken:
                if job.fault == "driver frozen":
                    broken.enter_context(frozen(process.pid, 3.0))
                else:
                    kill = job.fault == "driver killed"
                    process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
                for line in process.stdout:
                    if line.startswith("digest"):
                        digest = line.split()[1]
                process.wait()
            complaints.seek(0)
            said = complaints.read()
        if digest is not None:  # it was frozen, or had just ended
            return {"verdict": "same bits", "digest": digest}
        if job.fault == "driver frozen" or (kill and process.returncode != -signal.SIGKILL):
            return {"verdict": "wrong error", "error": said[-300:], "note": said[-2000:]}
        return self._second_call(job, "error, then same bits")

    def _leaks(self, job: Job) -> list[str]:
        """Return what is left for good; the cluster is complete again by then, or new."""
        with_cluster = job.channel not in ("threads", "processes")
        if with_cluster:
            self.cluster.whole()

        def look() -> list[str]:
            left = set(self._left(job, with_cluster))
            if job.fault in ("driver killed", "scheduler frozen"):
                # Dask keeps the names of a client that could not say goodbye.
                self._dead |= {name for name in left if name.startswith("listener")}
            return sorted(left - self._dead)

        deadline = time.monotonic() + patient(_CLEARING)
        while (left := look()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return left

    def _left(self, job: Job, with_cluster: bool) -> list[str]:
        place.reap()
        known = self._ours | {p.pid for p in self.cluster.nannies}
        if self.cluster.scheduler is not None:
            known.add(self.cluster.scheduler.pid)
        everyone = place.tree()
        left = [
            f"process {' '.join(_words(child))}"
            for child in psutil.Process().children()
            if child.pid not in known
        ]
        left += [f"shared memory {name}" for name in sorted(place.shared(everyone) - self._shared)]
        # Dask keeps an empty folder; a killed driver's cluster leaves to the next one to clear it.
        scratch = self.temporary / "dask-scratch-space"
        names = place.inside(self.temporary) - {scratch.name}
        if job.fault != "driver killed":
            names |= {name for name in place.inside(scratch) if "lock" not in name}
        left += [f"temporary file {name}" for name in sorted(names)]
        names = place.inside(self.disk / "run")
        left += [f"file {name}" for name in sorted(names) if not name.startswith("step-")]
        left += [f"{len(names)} files of checkpoints"] * (len(names) > 6)
        threads = [t.name for t in threading.enumerate() if t.name.startswith(("rank-", "courier"))]
        left += [f"thread {name}" for name in threads]
        if with_cluster:
            # The same processes, so the same number of ports.
            ports = place.listening(everyone)
            before = self._ports.setdefault(self.cluster.address, ports)
            left += [f"{ports} ports, {before} before"] * (ports > before)
            try:
                left += _left_on(self.cluster.client)
            except Exception as error:
                left.append(f"cluster that does not answer ({error!r})")
        return left


class Trigger:
    """Hears the events of a training, and strikes once, at the moment of the job."""

    def __init__(self, lane: Lane, job: Job, broken: ExitStack) -> None:
        self._lane, self._job, self._broken = lane, job, broken
        few = job.program in ("ddp", "search")  # half as many events
        self._moment = (job.moment + 1) // 2 if few else job.moment
        self._seen = 0
        self.struck = False
        self.failed = False

    def __call__(self, event: Any) -> None:
        """Hear an event."""
        kind = getattr(event, "kind", "row")
        self._seen += kind in ("checkpoint", "row")
        if kind == "restart" and self._lane.at_restart is not None:
            with suppress(RuntimeError):  # started already
                self._lane.at_restart.start()
        if self._seen == self._moment and self._moment > 0 and not self.struck:
            self.fire()

    def fire(self) -> None:
        """Strike."""
        self.struck = True
        try:
            self._broken.enter_context(strike(self._lane, self._job))
        except Exception:  # such as: the training has ended already
            self.failed = True


def _words(process: psutil.Process) -> list[str]:
    try:
        return [Path(word).name for word in process.cmdline()[:4]]
    except psutil.Error:
        return ["that is just ending"]


def _left_on(client: Any) -> list[str]:
    """Return what is left on a cluster whose runs have ended."""
    # As run_on_scheduler() and run(), but with a limit of time.
    limit = patient(5)
    left: list[str] = client.sync(
        client._run_on_scheduler, _left_on_scheduler, client.id, callback_timeout=limit
    )
    answers = client.sync(client._run, _left_on_worker, callback_timeout=limit)
    left += [name for names in answers.values() for name in names]
    return left + [f"{len(answers)} workers of {WORKERS}"] * (len(answers) != WORKERS)


def _left_on_scheduler(ours: str, dask_scheduler: Any) -> list[str]:
    topics = dask_scheduler._broker._topics
    leases = dask_scheduler.extensions["semaphores"].leases
    return [
        *(f"task {key}" for key in dask_scheduler.tasks),
        *(
            f"listener of {name}"
            for name, t in topics.items()
            if t.subscribers and name not in ("print", "warn")
        ),
        *(f"lock {name}" for name, given in leases.items() if given),
        *(f"client {name}" for name in set(dask_scheduler.clients) - {ours, "fire-and-forget"}),
    ]


def _left_on_worker(dask_worker: Any) -> list[str]:
    plugin = dask_worker.plugins.get("course-lib-mailboxes")
    return [
        *(f"task {key} of a worker" for key in dask_worker.state.tasks),
        *(f"mailbox {generation}" for generation in (plugin._open if plugin else ())),
    ]


def main() -> None:
    """Serve until the input ends."""
    place.die_with_parent()
    place.adopt_orphans()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    folder, mounts = Path(sys.argv[1]), sys.argv[2] == "mounts"
    lane = Lane(folder, mounts)
    with lane.cluster:
        for line in sys.stdin:
            found = lane.run(Job(**json.loads(line)))
            print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
