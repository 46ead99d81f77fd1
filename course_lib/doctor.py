"""What is installed, how many threads compute, which devices there are: for reports of problems.

Run ``python -m course_lib.doctor`` and paste what it prints. It reads versions, settings and
hardware; no names of users, machines or folders.

Chapter: none; the page on reporting a problem asks for it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from course_lib import __version__

PACKAGES = (
    "numpy", "safetensors", "tqdm", "scikit-learn", "matplotlib", "torch", "dask",
    "distributed", "jupyter-book", "jupyterlab", "ipykernel", "nbval", "threadpoolctl",
)  # fmt: skip

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "MALLOC_TRIM_THRESHOLD_",
)  # fmt: skip


def _python() -> Iterator[str]:
    yield f"{platform.python_implementation()} {platform.python_version()}"
    yield f"{platform.system()} {platform.release()}, {platform.machine()}"


def _packages() -> Iterator[str]:
    yield f"course_lib {__version__}"
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed"


def _blas() -> Iterator[str]:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    yield f"NumPy was built with {blas['name']} {blas.get('version', '')}".rstrip()


def _threads() -> Iterator[str]:
    for name in THREAD_VARIABLES:
        yield f"{name} is {os.environ.get(name, 'not set')}"
    if importlib.util.find_spec("threadpoolctl") is not None:
        for pool in importlib.import_module("threadpoolctl").threadpool_info():
            yield f"{pool['internal_api']} {pool['version']} uses {pool['num_threads']} threads"


def _cores() -> Iterator[str]:
    yield f"{os.cpu_count()} in the machine"
    if hasattr(os, "sched_getaffinity"):
        yield f"{len(os.sched_getaffinity(0))} allowed to this process"
    # A container's share of the cores, which the counts above do not know.
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        share, period = quota.read_text().split()
        yield (
            "no limit by the container"
            if share == "max"
            else (f"{int(share) / int(period):g} granted to the container")
        )


def _memory() -> Iterator[str]:
    if hasattr(os, "sysconf"):
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        yield f"{gigabytes:.1f} GB in the machine"
    shared = Path("/dev/shm")  # nosec B108 # only its size is asked for
    if shared.is_dir():
        usage = shutil.disk_usage(shared)
        yield f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB of shared memory are free"


def _devices() -> Iterator[str]:
    if importlib.util.find_spec("torch") is None:
        yield "PyTorch is not installed: NumPy on the CPU only"
        return
    import torch

    yield f"PyTorch uses {torch.get_num_threads()} threads"
    yield f"{torch.cuda.device_count()} CUDA devices (built for CUDA {torch.version.cuda})"
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        yield f"cuda:{i} is {device.name}, {device.total_memory / 1e9:.0f} GB"
    if torch.distributed.is_available():
        for name in ("gloo", "nccl", "mpi"):
            there = getattr(torch.distributed, f"is_{name}_available")()
            yield f"{name} is {'available' if there else 'not available'}"


_SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "Python": _python,
    "Packages": _packages,
    "Matrix products": _blas,
    "Threads": _threads,
    "Cores": _cores,
    "Memory": _memory,
    "Devices": _devices,
}


def report() -> str:
    """Return the findings as text; it names what it could not find out, and raises nothing.

    Examples
    --------
    >>> report().splitlines()[0]
    'Python'
    """
    lines = []
    for title, section in _SECTIONS.items():
        lines.append(title)
        try:
            lines.extend(f"  {line}" for line in section())
        except Exception as error:  # a half-broken installation is just what this is for
            lines.append(f"  could not be found out: {type(error).__name__}: {error}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(report() + "\n")
