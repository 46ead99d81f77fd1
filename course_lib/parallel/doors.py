"""What a training, its prediction and a search check alike: how long to wait, and where to run.

Chapter: data parallelism.
"""

from __future__ import annotations

from typing import Any

from course_lib.arrays import check_number, shown


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
