"""Machines that can be reached by ssh; tests/test_clusters.py runs it, all hosts being 127.0.0.1.

    pip install asyncssh
    python examples/clusters/ssh.py --interface eth0 scheduler-host worker-host-1 worker-host-2

The interface is the network between the machines (`ip addr` lists them), on which workers listen;
the scheduler listens on its host's address. Every machine needs the same Python at the same path,
course_lib and its packages, and an ssh key without a password. A checkpoint directory must be one
that all of them see. Between several machines it was NOT RUN: hosts of one machine, each logged in
to by ssh, is what was tried.
"""

from __future__ import annotations

import argparse

from course_lib import Adam, mlp
from course_lib.data import load_digits
from course_lib.parallel import train


def main() -> None:
    """Train on all hosts but the first, which runs the scheduler."""
    from distributed import Client, SSHCluster

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scheduler", help="the host of the scheduler")
    parser.add_argument("workers", nargs="+", help="the hosts of the workers")
    parser.add_argument("--interface", required=True, help="the network between the hosts")
    parser.add_argument("--port", type=int, default=22, help="where sshd listens")
    parser.add_argument("--key", help="the file of the private key; by default, ssh's own")
    parser.add_argument("--known-hosts", help="keys of hosts; by default, ssh's own file")
    options = parser.parse_args()

    connect = {"port": options.port}
    if options.key:
        connect["client_keys"] = [options.key]
    if options.known_hosts:
        connect["known_hosts"] = options.known_hosts
    # A dashboard is for those on its machine, not for the whole network.
    dashboard = {"dashboard_address": "127.0.0.1:0"}
    with (
        SSHCluster(
            [options.scheduler, *options.workers],
            connect_options=connect,
            scheduler_options={"host": options.scheduler, **dashboard},
            worker_options={"nthreads": 1, "interface": options.interface, **dashboard},
        ) as cluster,
        Client(cluster) as client,
    ):
        result = train(
            mlp([64, 32, 10]), load_digits(), optimizer=Adam(0.01), epochs=3, batch_size=32,
            workers=len(options.workers), client=client,
        )  # fmt: skip
    print(result.report())


if __name__ == "__main__":
    main()
