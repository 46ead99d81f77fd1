"""``course-lib doctor``: what this installation can do, and whether a cluster fits to it.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
from typing import Any

from course_lib import doctor
from course_lib.cli.cluster import add_cluster, opened


def add_doctor(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "doctor",
        help="say what this installation can do",
        description="Report the versions, threads, cores, memory and devices found here; with "
        "--scheduler also the workers of that cluster and whether they have course_lib.",
    )
    add_cluster(command)
    command.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> str:
    """Examine; return what to print."""
    if options.scheduler is None:
        return doctor.report()
    with opened(options) as client:
        threads = client.nthreads()
        found = client.run(_version, on_error="return") if threads else {}
    lines = [f"Cluster {options.scheduler}"]
    for address in sorted(threads):
        lines.append(f"  {address}: {threads[address]} threads, {found.get(address)}")
    if not threads:
        raise RuntimeError(f"{options.scheduler} answers, but has no workers; start `dask worker`.")
    faults = [address for address in sorted(threads) if not isinstance(found.get(address), str)]
    if faults:
        raise RuntimeError(
            "\n".join(lines)
            + f"\n{len(faults)} of {len(threads)} workers cannot run course_lib; install it there."
        )
    return "\n".join([doctor.report(), *lines])


def _version() -> str:
    from course_lib import __version__

    return f"course_lib {__version__}"
