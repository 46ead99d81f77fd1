"""Without a client, train brings its own cluster, and leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import course_lib

TRAIN = """
import numpy as np
from course_lib import SGD, fit, mlp
from course_lib.parallel import train

def main():
    x = np.linspace(-1, 1, 23)[:, None]
    net = mlp([1, 5, 1], hidden="tanh", loss="mse")
    options = dict(epochs=3, batch_size=5, seed=0)
    result = train(net, (x, x**2), optimizer=SGD(0.1), workers=2, **options)
    serial = fit(net, net.init(np.random.default_rng(0)), SGD(0.1), x, x**2, **options)
    print("same", bool(np.allclose(result.theta, serial.theta, rtol=1e-10)))
"""


def python(source: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh process, where OMP_NUM_THREADS is not set."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    environment = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}
    environment = {k: v for k, v in environment.items() if not k.endswith("_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, *options, str(script)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        env=environment,
    )


def test_a_script_leaves_no_process_no_message_and_no_changed_environment(tmp_path):
    source = (
        TRAIN
        + """
if __name__ == "__main__":
    import os, multiprocessing, subprocess
    before = dict(os.environ)
    main()
    print("environment", dict(os.environ) == before)
    print("children", len(multiprocessing.active_children()))
    # Python's own resource tracker stays until this process ends; no worker may.
    command = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
    ps = subprocess.run(command, capture_output=True, text=True)
    print("workers", [line for line in ps.stdout.splitlines() if "spawn_main" in line])
"""
    )
    run = python(source, tmp_path, "-W", "error")
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["same True", "environment True", "children 0", "workers []"]
    assert run.returncode == 0


def test_a_script_without_a_main_guard_gets_a_sentence(tmp_path):
    run = python(TRAIN + "\nmain()\n", tmp_path)
    assert run.returncode == 1
    assert run.stderr.count("Traceback") == 1
    assert "ParallelError: The main script starts worker processes" in run.stderr
    assert "so that only the first process runs it." in run.stderr


def test_a_main_guard_in_the_wrong_place_gets_the_sentence_too(tmp_path):
    run = python(TRAIN + '\nmain()\nif __name__ == "__main__":\n    print("late")\n', tmp_path)
    assert run.returncode == 1
    assert "worker processes did not start" in run.stderr
    assert "so that only the first process runs it." in run.stderr
    assert "late" not in run.stdout


def test_code_without_a_file_as_in_a_notebook_works(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(course_lib.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAIN + "\nmain()\n"],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        env=environment,
    )
    assert (run.stdout, run.stderr) == ("same True\n", "")
