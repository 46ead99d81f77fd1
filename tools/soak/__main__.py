"""``make soak``: run the plan for so many seconds, in several lanes, and write down what came out.

Each lane is a process of its own, so a job that hangs is measured, not suffered.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.patience import patient
from tools.soak import place
from tools.soak.plan import FAULTS, NEEDS_MOUNTS, Job, jobs

GOOD = ("same bits", "error, then same bits")

# Seconds that a job may take on a quiet machine; about four times as long as the longest.
_LIMIT = 60.0


class Lane:
    """A lane, seen from outside; started when it is first asked, and anew after it was ended."""

    def __init__(self, folder: Path, mounts: bool, limit: float, over: threading.Event) -> None:
        self._folder, self._mounts, self._limit, self._over = folder, mounts, limit, over
        self._process: subprocess.Popen[str] | None = None
        self._log = folder / "lane.log"

    def run(self, job: Job) -> dict[str, Any]:
        """Have a job run; end the lane if it does not answer in time."""
        start = time.monotonic()
        answer = None
        for _ in range(2):  # the second time in a new lane
            process = self._process or self._start()
            with suppress(BrokenPipeError):
                print(json.dumps(job._asdict()), file=process.stdin, flush=True)
                answer = self._answer(process)
                break
            self.close()
        if answer:
            found: dict[str, Any] = json.loads(answer)
        else:
            found = job._asdict() | {
                "verdict": "hang" if answer is None else "lane died",
                "seconds": round(time.monotonic() - start, 1),
                "note": self._where(),
            }  # fmt: skip
            self.close()
        if "error" in found:
            found["error"] = found["error"].replace(str(self._folder), "FOLDER")
        return found

    def close(self) -> None:
        """End the lane, whatever it does, and all that it has started."""
        if self._process is not None:
            place.kill_tree(self._process.pid)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
            self._process = None
        for path in self._folder.iterdir():
            if path != self._log:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _start(self) -> subprocess.Popen[str]:
        mounts = "mounts" if self._mounts else "no-mounts"
        command = place.command(self._mounts, "tools.soak.lane", str(self._folder), mounts)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,  # Ctrl-C is for us
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        return self._process

    def _answer(self, process: subprocess.Popen[str]) -> str | None:
        """Return the line that came, an empty one if the lane has ended, None if it is too late."""
        assert process.stdout is not None
        deadline = time.monotonic() + patient(self._limit)
        while not self._over.is_set():
            if select.select([process.stdout], [], [], 0.5)[0]:
                return process.stdout.readline()
            if time.monotonic() > deadline:
                return None
        return ""

    def _where(self) -> str:
        """Return where the lane is, as it says itself."""
        with suppress(ProcessLookupError, AttributeError):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(1.0)
        return self._log.read_text(errors="replace")[-4000:]


class Soak:
    """All lanes, the jobs that they share, and what has come out so far."""

    def __init__(self, plan: Iterator[Job], *, seconds: float, limit: float = _LIMIT) -> None:
        self._plan, self._limit = plan, limit
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.found: list[dict[str, Any]] = []

    def run(self, lanes: int, mounts: bool) -> None:
        """Run until the time is over, the plan has ended or Ctrl-C; leave nothing behind."""
        place.adopt_orphans()
        others = {child.pid for child in psutil.Process().children()}
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            homes = [Path(folder) / str(number) for number in range(lanes)]
            for home in homes:
                home.mkdir()
            outside = [Lane(home, mounts, self._limit, self._over) for home in homes]
            threads = [threading.Thread(target=self._serve, args=(lane,)) for lane in outside]
            try:
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    if time.monotonic() > self._end:
                        break
                    time.sleep(0.2)
            finally:
                self._over.set()
                _end_children(others)  # what was under way is not counted
                for thread in threads:
                    thread.join()
                for lane in outside:
                    lane.close()
                _end_children(others)

    def _serve(self, lane: Lane) -> None:
        while True:
            with self._lock:
                job = None if self._over.is_set() else next(self._plan, None)
            if job is None:
                return
            found = lane.run(job)
            with self._lock:
                if self._over.is_set():
                    return
                self.found.append(found)
                _tell(found)


def _end_children(others: set[int]) -> None:
    """End all that we have started, however far down, and have adopted; the others were before."""
    while children := [c for c in psutil.Process().children() if c.pid not in others]:
        for child in children:
            place.kill_tree(child.pid)
        place.reap()
        time.sleep(0.1)


def _tell(found: dict[str, Any]) -> None:
    where = f"{found['program']} on {found['channel']}"
    good = found["verdict"] in (*GOOD, "no fault")
    mark = " " if good else "!"
    print(
        f"{mark} {found['number']:4d} {found['seconds']:6.1f} s  {found['fault']:20} {where:32} "
        f"{found['verdict']}",
        flush=True,
    )
    if not good:
        print(*(found.get(name) for name in ("error", "leaks", "note")), sep="\n", flush=True)


def machine() -> str:
    """Return this machine in words."""
    libraries = ("numpy", "distributed", "torch")
    words = [platform.machine(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    return ", ".join(words + [f"{name} {version(name)}" for name in libraries])


def write(path: Path, found: list[dict[str, Any]], **facts: Any) -> None:
    """Write the result as JSON, with a line for each job."""
    keys = [*Job._fields, "verdict", "seconds", "restarts", "error", "leaks"]
    rows = [
        {key: row[key] for key in keys if row.get(key) not in (None, [])}
        for row in sorted(found, key=lambda row: row["number"])
    ]
    head = json.dumps({"date": date.today().isoformat(), "machine": machine(), **facts}, indent=2)
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    path.write_text(f'{head[:-2]},\n  "jobs": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


def main() -> int:
    """Run the soak; 0 if every fault ended well."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    mounts = place.can_mount()
    faults = tuple(name for name in FAULTS if mounts or name not in NEEDS_MOUNTS)
    left_out = [name for name in FAULTS if name not in faults]
    if left_out:
        print("Without file systems of our own, left out:", ", ".join(left_out))
    soak = Soak(jobs(options.seed, faults), seconds=options.seconds)
    try:
        soak.run(options.lanes, mounts)
    except KeyboardInterrupt:
        print("Interrupted; nothing is written.")
        options.out = None
    counts = Counter(found["verdict"] for found in soak.found)
    print(", ".join(f"{count} x {verdict}" for verdict, count in counts.items()))
    if options.out is not None:
        write(
            options.out, soak.found, seconds=options.seconds, lanes=options.lanes,
            seed=options.seed, left_out=left_out,
            faults={name: {"kind": f.kind, "what": f.what} for name, f in FAULTS.items()},
        )  # fmt: skip
    return int(any(verdict not in (*GOOD, "no fault") for verdict in counts))


if __name__ == "__main__":
    sys.exit(main())
