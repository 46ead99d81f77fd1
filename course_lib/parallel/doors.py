"""What a training, its prediction and a search check alike: how long to wait, and where to run.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from course_lib.arrays import check_number, check_sequence, shown

Among: TypeAlias = Sequence[str] | Mapping[str, float] | None
"""Which workers may be taken: those of some addresses, or those that have some resources."""


def check_timeout(value: object, *, where: str) -> float:
    """Return how many seconds to wait, which must be a number that a clock can wait for.

    Examples
    --------
    >>> check_timeout(0, where="train")
    Traceback (most recent call last):
    ...
    ValueError: train: timeout must be a finite number > 0 and <= 1e+09, got 0.
    """
    # 32 years, which every kind of wait of the system can count.
    return check_number(value, where=where, name="timeout", above=0, at_most=1e9)


def check_client(client: Any, *, threads: bool, where: str) -> None:
    """Raise unless `client` is None, a client of Dask or an address; for threads, None.

    Examples
    --------
    >>> check_client(4, threads=False, where="train")
    Traceback (most recent call last):
    ...
    TypeError: train: client must be a Client of Dask or the address of a scheduler, got 4.
    """
    if client is None:
        return
    is_address = isinstance(client, str) and client != ""
    if not is_address and (isinstance(client, type) or not hasattr(client, "nthreads")):
        raise TypeError(
            f"{where}: client must be a Client of Dask or the address of a scheduler, got "
            f"{shown(client)}."
        )
    if threads:
        raise ValueError(
            f"{where}: client must be left out with comm='inprocess', which runs threads of this "
            f"process and uses no cluster, got {shown(client)}."
        )


def check_among(among: Any, client: Any, *, where: str) -> Among:
    """Return which workers of `client` may be taken: addresses, resources, or None for all.

    Examples
    --------
    >>> check_among("GPU", "tcp://10.0.0.1:8786", where="train")
    Traceback (most recent call last):
    ...
    TypeError: train: among must be addresses of workers, or resources such as {'GPU': 1}, got \
'GPU'.
    """
    if among is None:
        return None
    if client is None:
        raise ValueError(
            f"{where}: among= chooses among the workers of a cluster, and no client= names one; a "
            f"private cluster and threads have nothing to choose from, got {shown(among)}."
        )
    if isinstance(among, Mapping):
        return {
            str(name): check_number(value, where=where, name=f"among[{name!r}]", above=0)
            for name, value in among.items()
        }
    wrong = TypeError(
        f"{where}: among must be addresses of workers, or resources such as {{'GPU': 1}}, got "
        f"{shown(among)}."
    )
    if isinstance(among, str | bytes):
        raise wrong
    addresses = check_sequence(among, where=where, name="among", of="addresses of workers")
    if not addresses or not all(isinstance(address, str) for address in addresses):
        raise wrong
    return addresses
