"""The benchmarks run, and write down what the book will show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_very_short_run_of_the_step_benchmark_measures_every_candidate(
    root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "step.json"
    command = [sys.executable, "benchmarks/step.py", "--seconds", "0.05", "--out", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert len(rows) == 5
    for row in rows:
        times = row["microseconds"]
        assert set(times) == {"course_lib", "torch", "sklearn", "matmuls"}
        # The matrix products alone are part of the step, so they cannot take longer; a factor of
        # three is left for a machine that does other things.
        assert 0 < times["matmuls"] < 3 * times["course_lib"]
    assert "relative to course_lib" in done.stdout


def test_a_very_short_run_of_the_estimator_benchmark_compares_times_and_accuracies(
    root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "estimators.json"
    command = [sys.executable, "benchmarks/estimators.py", "--epochs", "1", "--repeats", "3"]
    subprocess.run([*command, "--out", str(out)], cwd=root, capture_output=True, check=True)
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert len(rows) == 6
    for row in rows:
        assert row["ratio"] > 0 and set(row["accuracy"]) == {"scikit-learn", "course_lib"}
