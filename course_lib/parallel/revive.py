"""A worker that does not answer is started again, for it would take part in the next attempt.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import partial

from distributed import Client

from course_lib.parallel.ask import answers, within
from course_lib.parallel.cluster import connect

# A nanny asks politely first, and a frozen process does not hear.
_PATIENCE = 30.0


def revive(client: Client | str, stuck: Collection[str], timeout: float) -> list[str]:
    """Restart the workers that do not answer; return those that could not be restarted.

    Parameters
    ----------
    client : Client or str
        Of the cluster, or the address of its scheduler.
    stuck : collection of str
        Workers whose ranks did not stop. One that answers still computes, and is left alone: its
        rank will stop at its next message.
    timeout : float
        Seconds that the restart may take; at least the half minute that Dask's own default is.
    """
    hopeless: list[str] = []
    patience = max(timeout, _PATIENCE)
    if not stuck:
        return hopeless
    with connect(client, workers=1, timeout=timeout) as own:
        for worker in stuck:
            if answers(own, worker) or worker not in own.nthreads():
                continue
            hopeless.append(worker)
            # A worker without a nanny has nobody to start it again.
            with suppress(ValueError, TimeoutError, AssertionError, OSError):
                within(2 * patience, partial(own.restart_workers, [worker], patience))
                hopeless.remove(worker)
    return hopeless
