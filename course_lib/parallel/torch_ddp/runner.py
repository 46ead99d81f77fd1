"""Run a program of one's own as PyTorch ranks on a Dask cluster, and hear of them.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from distributed import get_worker

from course_lib.arrays import check_integer
from course_lib.parallel.channels import DEVICES, own_device
from course_lib.parallel.comm import Comm
from course_lib.parallel.doors import Among, check_among, check_timeout
from course_lib.parallel.errors import ParallelError
from course_lib.parallel.launch import Relauncher, interruptible, run_with_restarts
from course_lib.parallel.torch_ddp.context import Context
from course_lib.parallel.torch_ddp.group import process_group
from course_lib.parallel.torch_ddp.noise import own_noise
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client


class RankEvent(NamedTuple):
    """What ``on_event`` of :func:`run` is shown: something that one rank has told.

    Attributes
    ----------
    rank : int
        Which rank; -1 for the driver itself.
    kind : str
        ``"metric"``: what the program reports. ``"progress"``: a sign of life from the loader,
        twice a second at most. ``"checkpoint"``: one was written. ``"restart"``: a worker was
        lost, and the ranks start again.
    values : dict
        Numbers and strings by name.
    message : str
        A path or a sentence.

    Examples
    --------
    >>> RankEvent(1, "metric", {"loss": 0.5})
    RankEvent(rank=1, kind='metric', values={'loss': 0.5}, message='')
    """

    rank: int
    kind: str
    values: dict[str, Any]
    message: str = ""


@interruptible("run")
def run(
    fn: Callable[..., Any],
    *args: Any,
    workers: int = 2,
    client: Client | str | None = None,
    among: Among = None,
    device: str = "auto",
    timeout: float = 60.0,
    max_restarts: int = 0,
    on_event: Callable[[RankEvent], None] | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Run ``fn(ctx, *args, **kwargs)`` as one PyTorch rank per Dask worker, or fail as one.

    Parameters
    ----------
    fn : callable
        The program of a rank. Its first argument is a
        :class:`~course_lib.parallel.torch_ddp.context.Context`. PyTorch computes in it with as
        many threads as the worker has (``dask worker --nthreads``). What it warns of, the caller
        is warned of, once.
    *args, **kwargs
        Sent to each worker once. What is too large for that, such as a dataset, is better opened
        by `fn` itself.
    workers : int
        The number of ranks (``world_size``).
    client : Client, str or None
        A client of a Dask cluster, the address of its scheduler, or None for a private cluster.
    among : sequence of str or dict, optional
        Which workers of the cluster may be taken: those of these addresses, or those that have
        these resources (``{"GPU": 1}``, of ``dask worker --resources "GPU=1"``). One that is
        started again has its resources, but another address.
    device : {"auto", "cpu", "cuda"}
        ``"auto"``: one GPU for each rank if there are GPUs, processors if there is none.
    timeout : float
        Seconds that any one wait may take: for a worker, a message, a gradient of another rank. A
        rank that waits inside PyTorch for the others to join the process group hears only then
        that the run was stopped; later it is woken at once.
    max_restarts : int
        How often all ranks start again, from the beginning of `fn`, when a worker is lost or does
        not answer; for programs that begin with ``ctx.load``.
    on_event : callable, optional
        Called in the caller's thread with each :class:`RankEvent`.

    Returns
    -------
    list
        What `fn` returned, by rank.

    Raises
    ------
    RankFailed
        If `fn` raised; its exception is the cause.
    WorkerLost
        If a worker's process ended.
    CommTimeout
        If a rank waited in vain.
    ParallelError
        If not every rank can have a device of the kind that the others have.
    NotEnoughWorkers, WorkersBusy, ClusterUnreachable
        See :func:`~course_lib.parallel.gang`.

    Examples
    --------
    >>> def mean_rank(ctx):
    ...     return ctx.all_reduce(ctx.rank) / ctx.size
    >>> run(mean_rank, workers=2, device="cpu")
    [0.5, 0.5]

    References
    ----------
    Li et al. 2020.
    """
    check_integer(workers, where="run", name="workers", at_least=1)
    check_integer(max_restarts, where="run", name="max_restarts", at_least=0)
    timeout = check_timeout(timeout, where="run")
    among = check_among(among, client, where="run")
    program = (OnGroup(fn, device, os.getcwd()), args, kwargs)

    def hear(message: Mapping[str, Any]) -> None:
        if on_event is not None:
            on_event(RankEvent(**message))

    def again(_: str, failure: ParallelError | None) -> None:
        hear({"rank": -1, "kind": "restart", "values": {}, "message": str(failure)})

    with Relauncher(client, (workers, workers), timeout=timeout, among=among) as cluster:
        results, _ = run_with_restarts(
            lambda: cluster.launch(program, on_report=hear),
            max_restarts=max_restarts,
            again=again,
            repair=cluster.repair,
        )
    return results


@dataclass(frozen=True)
class OnGroup:
    """A program of a rank, ``fn(ctx, ...)``, that is given a process group and a context."""

    fn: Callable[..., Any]
    device: str = "auto"
    folder: str = ""

    def __post_init__(self) -> None:
        lookup("device", self.device, dict.fromkeys(DEVICES))

    def __call__(self, comm: Comm, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        device = own_device(comm, self.device)
        with threads_of_worker(), own_noise(device), process_group(comm, device):
            return self.fn(Context(comm, device, self.folder), *args, **kwargs)


@contextmanager
def threads_of_worker() -> Iterator[None]:
    """Compute with as many threads as the Dask worker was given.

    Dask starts its workers with OMP_NUM_THREADS=1, however many threads they have.
    """
    before = torch.get_num_threads()
    with suppress(ValueError):  # no worker of Dask
        torch.set_num_threads(get_worker().state.nthreads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
