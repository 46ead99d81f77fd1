"""Machines that can be reached by ssh. NOT RUN by the tests: written from Dask's documentation.

    python examples/clusters/ssh.py scheduler-host worker-host-1 worker-host-2

Every machine needs the same Python, course_lib and its packages, and an ssh key without a
password. The checkpoint directory must be one that all of them see.
"""

from __future__ import annotations

import sys

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on all hosts but the first, which runs the scheduler."""
    from distributed import Client, SSHCluster

    hosts = sys.argv[1:]
    if len(hosts) < 2:
        sys.exit("give the host of the scheduler, then one or more hosts of workers")
    with (
        SSHCluster(hosts, worker_options={"nthreads": 1}) as cluster,
        Client(cluster) as client,
    ):
        result = train(
            mlp([64, 32, 10]), load_digits(), optimizer=Adam(0.01), epochs=3, batch_size=32,
            workers=len(hosts) - 1, client=client,
        )  # fmt: skip
    print(result.report())


if __name__ == "__main__":
    main()
