"""Where a command runs: on a private cluster of this machine, on one that is there, or in threads.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from course_lib.cli.options import place, seconds, workers
from course_lib.cli.output import complain
from course_lib.parallel.channels import CHANNELS
from course_lib.registry import lookup


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Add the options that say where to run."""
    group = command.add_argument_group("where to run")
    group.add_argument(
        "--workers", type=workers, default=2, metavar="N|MIN:MAX",
        help="how many; MIN:MAX takes as many as there are, between the two (default: 2)",
    )  # fmt: skip
    group.add_argument(
        "--scheduler", type=place, metavar="ADDRESS",
        help="tcp://host:8786 or tls://host:8786 of a Dask cluster; without it, worker processes "
        "are started on this machine and stopped at the end",
    )  # fmt: skip
    for name, what in (
        ("ca", "the certificate authority"),
        ("cert", "this client's certificate"),
        ("key", "the key to it"),
    ):
        group.add_argument(
            f"--tls-{name}", type=place, metavar="FILE", help=f"{what}, for tls:// (PEM)"
        )
    group.add_argument(
        "--comm", default="auto", metavar="CHANNEL",
        help="auto, dask, shared_memory, hierarchical, gloo, nccl, or inprocess for threads of "
        "this process (default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="longest wait (default: 60)"
    )


_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.%]+\]|[\w.-]+):(?P<port>\d{1,5})")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Any]:
    """Open what the options ask for; yield a Dask client, or None for threads."""
    files = {f"--tls-{name}": getattr(options, f"tls_{name}") for name in ("ca", "cert", "key")}
    given = {name: file for name, file in files.items() if file is not None}
    _check(options, given)
    if options.comm == "inprocess":
        yield None
        return
    import dask

    from course_lib.parallel.launch import connect

    most = options.workers[1] if isinstance(options.workers, tuple) else options.workers
    with dask.config.set(_tls(options) if given else {}), connect(
        options.scheduler, workers=most, timeout=options.timeout
    ) as client:  # fmt: skip
        complain(f"dashboard: {client.dashboard_link}")
        yield client


def _check(options: argparse.Namespace, given: dict[str, str]) -> None:
    address = options.scheduler or ""
    if options.comm == "inprocess" and address:
        raise ValueError(
            "--comm inprocess runs in threads and uses no cluster; leave out it or --scheduler."
        )
    lookup("--comm", options.comm, dict.fromkeys((*CHANNELS, "inprocess")))
    match = _ADDRESS.fullmatch(address)
    if address and (match is None or int(match["port"]) >= 2**16):
        raise ValueError(
            f"--scheduler {address}: expected an address such as tcp://127.0.0.1:8786 or "
            "tls://127.0.0.1:8786."
        )
    if given and not address.startswith("tls://"):
        raise ValueError(
            f"{', '.join(given)}: certificates are for a scheduler at a tls:// address, got "
            f"{address or 'none'}; give --scheduler tls://host:port, or leave them out."
        )
    if given and len(given) < 3:
        raise ValueError("--tls-ca, --tls-cert and --tls-key belong together; give all three.")
    for name, file in given.items():
        if not Path(file).is_file():
            raise FileNotFoundError(f"{name} {file}: there is no such file.")
    if given:
        try:
            ssl.create_default_context(cafile=options.tls_ca).load_cert_chain(
                options.tls_cert, options.tls_key
            )
        except ssl.SSLError as error:
            raise ValueError(
                f"{', '.join(given.values())}: expected the certificate of an authority, a "
                f"certificate and its key, as PEM, got what cannot be read ({error.reason}); "
                "examples/clusters/make_certificates.py makes such files."
            ) from error


def _tls(options: argparse.Namespace) -> dict[str, str]:
    return {
        "distributed.comm.tls.ca-file": options.tls_ca,
        "distributed.comm.tls.client.cert": options.tls_cert,
        "distributed.comm.tls.client.key": options.tls_key,
    }
