"""Runs tests on a copy of the project, in a process made of one that has imported large libraries.

The copy's own modules are imported anew each time; starting Python and importing PyTorch and Dask
would else take most of the time.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Seconds for all tests of a mutant, and the least that one test gets; a slow one gets more.
LIMIT, ONE = 60.0, 20.0


def copy(folder: Path) -> None:
    """Copy what git knows of the project, and compile it so that a changed file is seen as such."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([*command, folder / "course_lib", folder / "tests"], check=True)


def warm() -> None:
    """Import what takes long, and nothing of the project."""
    os.environ.update(OMP_NUM_THREADS="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    for name in ("pytest", "hypothesis", "sklearn.neural_network", "sklearn.datasets", "torch",
                 "torch.distributed", "distributed", "dask.array", "matplotlib.pyplot",
                 "nbformat", "coverage"):  # fmt: skip
        __import__(name)
    gc.freeze()  # each run ends with several searches for garbage, also among what is imported here


class _Plugin:
    """Orders the tests, gives each its time, and writes down what became of it."""

    def __init__(self, order: dict[str, float], limit: float, out: Path, cover: Any) -> None:
        self.order, self.out, self.cover = order, out, cover
        self.end = time.monotonic() + limit
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.late = False

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        import pytest

        if self.order:
            rank = {name: i for i, name in enumerate(self.order)}
            items[:] = sorted((i for i in items if i.nodeid in rank), key=lambda i: rank[i.nodeid])
            for item in items:
                seconds = max(ONE, 8 * self.order[item.nodeid])
                item.add_marker(pytest.mark.timeout(seconds, method="signal"))

    def pytest_sessionstart(self, session: Any) -> None:
        self.session = session

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.cover is not None:
            self.cover.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed or (report.skipped and not self.order):
            self.failed.append(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.late = time.monotonic() > self.end
        if self.late:
            self.session.shouldstop = "the time is over"

    def save(self, code: int) -> None:
        self.out.write_text(json.dumps([code, self.failed, self.seconds]), "utf-8")


def run(
    folder: Path, tests: Sequence[str], order: dict[str, float], *, limit: float = LIMIT,
    cover: Path | None = None,
) -> tuple[int | None, list[str], dict[str, float]]:  # fmt: skip
    """Run tests in the copy: exit code (None: it hung), which failed, and the seconds of each.

    With an `order`, its tests only, in this order, and up to the first that fails.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        out = Path(scratch) / "out.json"
        child = os.fork()
        if child == 0:
            try:
                _child(folder, tests, order, limit, out, cover)
            finally:
                os._exit(70)
        code = _wait(child, limit + 60)
        try:
            os.killpg(child, signal.SIGKILL)  # what the tests have left running
        except ProcessLookupError:
            pass
        if not out.exists():
            return (None if code is None else 3), [], {}
        return tuple(json.loads(out.read_text("utf-8")))  # type: ignore[return-value]


def _wait(child: int, limit: float) -> int | None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _child(
    folder: Path, tests: Sequence[str], order: dict[str, float], limit: float, out: Path,
    cover: Path | None,
) -> None:  # fmt: skip
    import pytest

    os.setsid()
    os.chdir(folder)
    log = os.open(folder / "trial.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(out.parent)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("tools", "tests")]:
        del sys.modules[name]
    measured = None
    if cover is not None:
        import coverage

        measured = coverage.Coverage(data_file=str(cover), source=["course_lib"], config_file=False)
        measured.start()
    plugin = _Plugin(order, limit, out, measured)
    code = 3
    try:
        # A rewritten assert is cheap, but what has been imported before can not be rewritten.
        options = ["-q", "-p", "no:cacheprovider", "-p", "pytest_timeout",
                   "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
        code = int(pytest.main([*options, *(["-x"] if order else []), *tests], plugins=[plugin]))
        if plugin.late and not plugin.failed:
            code = 0  # what could run in this time has found nothing
    except BaseException:
        traceback.print_exc()
    finally:
        if measured is not None:
            measured.stop()
            measured.save()
        plugin.save(code)
        sys.stdout.flush()
        os._exit(0)
