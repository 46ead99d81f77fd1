"""The doctor: every fact is there, nothing private, and nothing that is missing stops it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np

import course_lib
from course_lib import doctor
from tests.patience import patient


def _section(report, title):
    lines = report.splitlines()
    start = lines.index(title) + 1
    stop = next((i for i in range(start, len(lines)) if lines[i][0] != " "), len(lines))
    return [line.strip() for line in lines[start:stop]]


def test_versions_are_those_of_the_running_program():
    report = doctor.report()
    assert f"CPython {platform.python_version()}" in _section(report, "Python")[0]
    packages = _section(report, "Packages")
    assert f"numpy {np.__version__}" in packages
    assert [line.split()[0] for line in packages] == ["course_lib", *doctor.PACKAGES]
    assert packages[0] == f"course_lib {course_lib.__version__}"


def test_every_section_has_a_finding():
    report = doctor.report()
    for title in doctor._SECTIONS:
        assert _section(report, title)
    assert "could not be found out" not in report


def test_thread_settings_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    threads = _section(doctor.report(), "Threads")
    assert "OMP_NUM_THREADS is 7" in threads and "MKL_NUM_THREADS is not set" in threads


def test_a_package_that_is_not_installed_is_said_to_be(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    assert "no-such-package is not installed" in _section(doctor.report(), "Packages")


def test_without_pytorch_and_threadpoolctl_it_still_reports(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    report = doctor.report()
    assert _section(report, "Devices") == ["PyTorch is not installed: NumPy on the CPU only"]
    assert len(_section(report, "Threads")) == len(doctor.THREAD_VARIABLES)


def test_a_broken_part_is_reported_and_the_rest_still_comes(monkeypatch):
    def broken():
        yield "one line"
        raise OSError("libfoo.so is missing")

    monkeypatch.setitem(doctor._SECTIONS, "Matrix products", broken)
    report = doctor.report()
    assert _section(report, "Matrix products")[-1] == (
        "could not be found out: OSError: libfoo.so is missing"
    )
    assert _section(report, "Devices")


def test_it_runs_as_a_module_and_tells_nothing_private():
    done = subprocess.run(
        [sys.executable, "-m", "course_lib.doctor"],
        capture_output=True, text=True, timeout=patient(60),
        cwd=os.path.dirname(course_lib.__path__[0]),
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert _section(done.stdout, "Cores")[0] == f"{os.cpu_count()} in the machine"
    assert sys.prefix not in done.stdout and os.getcwd() not in done.stdout
    assert platform.node() not in done.stdout or len(platform.node()) < 4
    assert os.path.expanduser("~") not in done.stdout
