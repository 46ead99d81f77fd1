"""One search from its plan to its result: open the place to run, run, and close it.

Chapter: search.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

from course_lib.arrays import check_integer
from course_lib.parallel.brackets import Rung
from course_lib.parallel.needs import require_dask
from course_lib.parallel.rungs import Pool, climb
from course_lib.parallel.search_result import Row, SearchResult
from course_lib.parallel.spaces import Config
from course_lib.parallel.thread_pool import ThreadPool
from course_lib.parallel.trials import Objective
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client

_CHANNELS = {"auto": "dask", "dask": "dask", "inprocess": "inprocess"}


class SearchOptions(TypedDict, total=False):
    """What all searches take besides: where to run, and what to do when something goes wrong.

    Attributes
    ----------
    seed : int
        Decides the configurations that are drawn, and the seeds of the trials. 0 without it.
    workers : int
        How many trials run at a time; without it 2 on this machine, and on a cluster as many as
        it has threads.
    client : Client or str
        A Dask client, or the address of a scheduler; without it, worker processes are started on
        this machine and closed at the end.
    comm : {"auto", "dask", "inprocess"}
        Dask workers, or threads of this process, which need no cluster.
    retries : int
        How often a trial is run again, with the same seed, after its worker was lost; then it
        counts as failed. 2 without it. A cluster of yours tries a task on several workers by
        itself before it reports that (``distributed.scheduler.allowed-failures``, 3 by default).
        An objective that raises is not tried again: it would raise again.
    timeout : float
        Seconds to wait for the cluster: to connect, or when it has no worker. How long a trial
        takes is up to the objective. 60 without it.
    on_event : callable
        Called in this process with the :class:`~course_lib.parallel.search_result.Row` of each
        run when it ends.
    progress : bool
        Show a progress bar.
    """

    seed: int
    workers: int
    client: Client | str | None
    comm: str
    retries: int
    timeout: float
    on_event: Callable[[Row], None] | None
    progress: bool


def run_search(
    objective: Objective,
    configs: Sequence[Config],
    brackets: Sequence[Sequence[Rung]],
    *,
    seed: int = 0,
    workers: int | None = None,
    client: Client | str | None = None,
    comm: str = "auto",
    retries: int = 2,
    timeout: float = 60.0,
    on_event: Callable[[Row], None] | None = None,
    progress: bool = False,
) -> SearchResult:
    """Run the brackets on these configurations; the options are those of :class:`SearchOptions`.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score, or a score and a state.
    configs : sequence of dict
        For the first rungs of all brackets, in order.
    brackets : sequence of sequences of Rung
        The plan.

    Returns
    -------
    SearchResult
    """
    start = time.perf_counter()
    if not callable(objective):
        raise TypeError(
            "search: objective must be a function of a Trial that returns a score, got "
            f"{type(objective).__name__}."
        )
    seed = check_integer(seed, where="search", name="seed", at_least=0)
    retries = check_integer(retries, where="search", name="retries", at_least=0)
    if workers is not None:
        workers = check_integer(workers, where="search", name="workers", at_least=1)
    if lookup("comm", comm, _CHANNELS) == "dask":
        place = _dask_pool(objective, client, workers, retries, timeout)
    elif client is None:
        place = _thread_pool(objective, workers or 2)
    else:
        raise ValueError(
            "search: comm='inprocess' runs threads of this process and uses no cluster; leave out "
            "either client= or comm=."
        )
    total = sum(rung.n for rungs in brackets for rung in rungs)
    with place as pool, _listener(on_event, total if progress else None) as on_row:
        rows, state = climb(configs, brackets, pool, seed=seed, on_row=on_row)
    return SearchResult(rows, state, time.perf_counter() - start)


@contextmanager
def _thread_pool(objective: Objective, workers: int) -> Iterator[Pool]:
    with ThreadPool(objective, workers=workers) as pool:
        yield pool


@contextmanager
def _dask_pool(
    objective: Objective,
    client: Client | str | None,
    workers: int | None,
    retries: int,
    timeout: float,
) -> Iterator[Pool]:
    from dask import config

    require_dask("a search on worker processes")
    from course_lib.parallel.cluster import connect
    from course_lib.parallel.dask_pool import DaskPool

    # The first loss of a worker is reported to us, who count; read by a scheduler when it starts.
    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),
        connect(client, workers=workers or 2, timeout=timeout) as own,
        DaskPool(own, objective, at_once=workers, retries=retries, timeout=timeout) as pool,
    ):
        yield pool


@contextmanager
def _listener(
    on_event: Callable[[Row], None] | None, total: int | None
) -> Iterator[Callable[[Row], None]]:
    """Yield what is called with each row; `total` asks for a progress bar."""
    if total is None:
        yield on_event or (lambda row: None)
        return
    from tqdm.auto import tqdm  # here, because it would double the import time of the package

    best = float("-inf")
    with tqdm(total=total, unit="run") as bar:

        def listen(row: Row) -> None:
            nonlocal best
            if row.score is not None:
                best = max(best, row.score)
                bar.set_postfix(best=f"{best:.6g}")
            bar.update()
            if on_event is not None:
                on_event(row)

        yield listen
