"""The searches: every combination, at random, or with the hopeless tries stopped early.

Each makes a plan and configurations; one function opens the place to run, runs, and closes it.

Chapter: search.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict, Unpack

from course_lib.arrays import check_callable, check_flag, check_integer
from course_lib.needs import require_dask
from course_lib.parallel.doors import check_client, check_timeout
from course_lib.parallel.launch import interruptible
from course_lib.parallel.search.result import Row, SearchResult
from course_lib.parallel.search.rungs import Pool, Rung, climb, halving_rungs, hyperband_brackets
from course_lib.parallel.search.spaces import Config, Space, every, sample
from course_lib.parallel.search.trials import Objective, ThreadPool
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client

_CHANNELS = {"auto": "dask", "dask": "dask", "inprocess": "inprocess"}


def grid(
    objective: Objective, space: Space, *, budget: int = 1, **options: Unpack[SearchOptions]
) -> SearchResult:
    """Try every combination of the choices.

    Parameters
    ----------
    objective : callable
        Takes a Trial, returns a score, or a score and a state.
    space : mapping of str to sequence
        The choices for each name.
    budget : int
        What each trial is told to spend.
    **options
        See :class:`SearchOptions`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it should be.
    ParallelError
        If the cluster can not be used. A trial that fails is a row of the result.

    Examples
    --------
    >>> def objective(trial):
    ...     return -((trial.config["x"] - 2) ** 2) - trial.config["y"]
    >>> result = grid(objective, {"x": [0, 1, 2], "y": [0, 1]}, comm="inprocess")
    >>> result.best.config, result.best.score
    ({'x': 2, 'y': 0}, 0.0)
    """
    budget = check_integer(budget, where="grid", name="budget", at_least=1)
    configs = every(space)
    return _run(objective, configs, [[Rung(len(configs), budget)]], **options)


def random(
    objective: Objective, space: Space, *, n: int, budget: int = 1, **options: Unpack[SearchOptions]
) -> SearchResult:
    """Try n configurations drawn at random; all else is as for :func:`grid`.

    Parameters
    ----------
    space : mapping of str to sequence or Distribution
        Choices or a distribution for each name.
    n : int
        How many.

    References
    ----------
    Bergstra & Bengio 2012.

    Examples
    --------
    >>> from course_lib.parallel.search import LogUniform
    >>> space = {"lr": LogUniform(1e-4, 1)}
    >>> result = random(lambda t: -abs(t.config["lr"] - 0.01), space, n=50, comm="inprocess")
    >>> round(result.best.config["lr"], 2)
    0.01
    """
    budget = check_integer(budget, where="random", name="budget", at_least=1)
    n = check_integer(n, where="random", name="n", at_least=1)
    configs = sample(space, n, seed=options.get("seed", 0))
    return _run(objective, configs, [[Rung(n, budget)]], **options)


def successive_halving(
    objective: Objective,
    space: Space,
    *,
    n: int,
    min_budget: int = 1,
    eta: int = 3,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Train many configurations a little, keep the best one in eta, train them longer, and so on.

    The plan is that of :func:`~course_lib.parallel.search.halving_rungs`, all else is as for
    :func:`random`; but an objective that returns no state is trained anew in each rung.

    References
    ----------
    Jamieson & Talwalkar 2016.

    Examples
    --------
    >>> from course_lib.parallel.search import Uniform
    >>> def objective(trial):  # a score that comes near its limit only with the budget
    ...     return -abs(trial.config["x"]) - 1 / trial.budget, "a state"
    >>> result = successive_halving(objective, {"x": Uniform(-1, 1)}, n=9, comm="inprocess")
    >>> [(row.rung, row.budget) for row in result.rows if row.rung > 0], result.budget
    ([(1, 3), (1, 3), (1, 3), (2, 9)], 21)
    """
    rungs = halving_rungs(n, min_budget=min_budget, eta=eta)
    configs = sample(space, n, seed=options.get("seed", 0))
    return _run(objective, configs, [rungs], **options)


def hyperband(
    objective: Objective,
    space: Space,
    *,
    max_budget: int,
    eta: int = 3,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Run successive halving from several starting points, as no one knows the best one.

    :func:`~course_lib.parallel.search.hyperband_brackets` shows the plan; all else is as for
    :func:`successive_halving`.

    References
    ----------
    Li et al. 2018 (Hyperband), algorithm 1.

    Examples
    --------
    >>> from course_lib.parallel.search import Uniform
    >>> def objective(trial):
    ...     return -abs(trial.config["x"]) - 1 / trial.budget, "a state"
    >>> result = hyperband(objective, {"x": Uniform(-1, 1)}, max_budget=9, comm="inprocess")
    >>> [sum(row.bracket == b for row in result.rows) for b in range(3)], result.best.budget
    ([13, 6, 3], 9)
    """
    brackets = hyperband_brackets(max_budget, eta=eta)
    n = sum(bracket[0].n for bracket in brackets)
    configs = sample(space, n, seed=options.get("seed", 0))
    return _run(objective, configs, brackets, **options)


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
        Called in this process with the :class:`~course_lib.parallel.search.result.Row` of each
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


@interruptible("search")
def _run(
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
    start = time.perf_counter()
    check_callable(objective, where="search", name="objective", takes=("trial",))
    seed = check_integer(seed, where="search", name="seed", at_least=0)
    retries = check_integer(retries, where="search", name="retries", at_least=0)
    if workers is not None:
        workers = check_integer(workers, where="search", name="workers", at_least=1)
    timeout = check_timeout(timeout, where="search")
    threads = lookup("comm", comm, _CHANNELS) == "inprocess"
    check_client(client, threads=threads, where="search")
    if on_event is not None:
        check_callable(on_event, where="search", name="on_event", takes=("row",))
    progress = check_flag(progress, where="search", name="progress")
    if threads:
        place = _thread_pool(objective, workers or 2)
    else:
        place = _dask_pool(objective, client, workers, retries, timeout)
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
    from course_lib.parallel.launch import connect
    from course_lib.parallel.search.dask_pool import DaskPool

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
