"""Which faults there are, whom they can hit, how it must end; and the seeded list of jobs.

A job is one training with one fault. The list goes round by round: in each, every fault comes once,
and the next time it meets another program, another channel and another moment.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tools.soak.trainings import STRATEGIES

CLUSTER = ("auto", "dask", "shared_memory", "hierarchical", "gloo")
"""All channels between workers but NCCL, for which each rank needs a GPU."""

SHARING = ("auto", "shared_memory", "hierarchical")
"""Those that add in memory which the ranks share."""

OTHERS = ("threads", "processes")
"""Ranks without a cluster: threads of one process, processes that talk through pipes."""

TRAININGS = tuple(STRATEGIES)

ALL = (*TRAININGS, "ddp", "search")

LAST_MOMENT = 12
"""Of about 16 checkpoints; moment 0 is while the ranks are being started."""


class Fault(NamedTuple):
    """A fault: its kind, what it does, whom it can hit, the words of the error it may end with.

    Without an error, the training has to end by itself, with the bits of the quiet run. With one,
    it may also raise, and a second call has to end with these bits.
    """

    kind: str
    what: str
    programs: tuple[str, ...] = TRAININGS
    channels: tuple[str, ...] = CLUSTER
    error: str = ""
    first: int = 0
    last: int = LAST_MOMENT


AT_START = r"WorkersBusy"
"""While ranks are being started, workers that stand still were never theirs: that is no failure to
recover from, but an error that says so."""

FAULTS: dict[str, Fault] = {
    "worker killed": Fault("process", "`kill -9` of the process of a rank", ALL),
    "nanny killed": Fault("process", "`kill -9` of the process that watches over a worker", ALL),
    "process killed": Fault(
        "process",
        "`kill -9` of a rank that has no cluster, and nobody to start it again",
        channels=("processes",),
        error=r"WorkerLost: the process of rank",
    ),
    "rank exits": Fault(
        "process", "the process of a rank ends by itself", (*TRAININGS, "ddp"), first=1
    ),
    "rank dies": Fault(
        "process",
        "a thread that is a rank ends at one of its messages",
        channels=("threads",),
        error=r"WorkerLost: rank \d died",
        first=1,
    ),
    "worker frozen": Fault(
        "stillness", "SIGSTOP: the process of a rank stands still for good", ALL
    ),
    "process frozen": Fault(
        "stillness",
        "SIGSTOP of a rank that has no cluster",
        channels=("processes",),
        error=r"CommTimeout|WorkerLost",
        first=1,
    ),
    "machine frozen": Fault(
        "stillness",
        "SIGSTOP of a worker and its nanny; both wake up while others have taken over",
        TRAININGS,
    ),
    "slow rank": Fault(
        "stillness",
        "a rank runs a quarter of the time, by SIGSTOP and SIGCONT",
        ALL,
        (*CLUSTER, "processes"),
    ),
    "late rank": Fault(
        "stillness",
        "a rank does nothing for longer than the others wait",
        (*TRAININGS, "ddp"),
        first=1,
    ),
    "worker's memory": Fault(
        "room",
        "a worker takes more memory than it may; its nanny ends it",
        (*TRAININGS, "ddp"),
        first=1,
    ),
    "no memory": Fault(
        "room",
        "a rank gets no more memory from the system (RLIMIT_AS)",
        TRAININGS,
        error=r"RankFailed.*(Memory|memory)",
        first=1,
    ),
    "shared memory full": Fault(
        "room",
        "no room for memory that ranks share",
        channels=(*SHARING, "processes"),
        error=r"ParallelError: rank \d",
        last=0,
    ),
    "disk full": Fault(
        "room",
        "no room for a checkpoint",
        (*TRAININGS, "ddp"),
        (*CLUSTER, *OTHERS),
        error=r"No space left",
        first=1,
    ),
    "scheduler killed": Fault(
        "scheduler",
        "`kill -9` of the scheduler",
        ALL,
        error=r"SchedulerLost|ClusterUnreachable|WorkerLost|CommTimeout",
    ),
    "scheduler frozen": Fault(
        "scheduler",
        "SIGSTOP of the scheduler; it wakes up for the second call",
        ALL,
        error=r"SchedulerLost|ClusterUnreachable|WorkerLost|CommTimeout|WorkersBusy",
    ),
    "driver killed": Fault(
        "driver", "`kill -9` of the program that called the training", TRAININGS
    ),
    "driver interrupted": Fault(
        "driver", "Ctrl-C of the program that called the training", TRAININGS
    ),
    "driver frozen": Fault("driver", "SIGSTOP of the calling program for 3 s", TRAININGS),
    "message dropped": Fault(
        "messages",
        "a message does not arrive",
        channels=("dask", "threads"),
        first=1,
    ),
    "message late": Fault(
        "messages", "a message takes a second", channels=("dask", "threads"), first=1
    ),
    "message too late": Fault(
        "messages", "a message arrives when the others have given up", channels=("dask",), first=1
    ),
    "messages overtake": Fault(
        "messages",
        "all messages take up to 5 ms, and overtake each other",
        channels=("threads",),
        last=0,
    ),
    "exception": Fault(
        "code",
        "the user's code raises on a rank",
        (*TRAININGS, "ddp"),
        (*CLUSTER, "threads"),
        error=r"RankFailed.*ArithmeticError: ordered",
        first=1,
    ),
    "not a number": Fault(
        "code",
        "parameters become NaN on a rank",
        (*TRAININGS, "ddp"),
        (*CLUSTER, "threads"),
        error=r"RankFailed.*FloatingPointError",
        first=1,
    ),
}

ORDERED = (
    "rank exits",
    "late rank",
    "worker's memory",
    "no memory",
    "message dropped",
    "message late",
    "message too late",
    "exception",
    "not a number",
)
"""Done by the process itself, when it comes to the place."""

NEEDS_MOUNTS = ("shared memory full", "disk full")
"""Need a file system of our own, small enough to be filled."""


class Job(NamedTuple):
    """One training with one fault, at one moment, on one rank."""

    number: int
    program: str
    channel: str
    fault: str
    moment: int
    rank: int
    private: bool = False
    """Whether a driver has a cluster of its own, which dies with it."""


def jobs(seed: int, faults: tuple[str, ...] = tuple(FAULTS)) -> Iterator[Job]:
    """Yield jobs without end, the same ones for the same seed."""
    chance = np.random.default_rng(seed)
    programs = {name: _cycle(chance, FAULTS[name].programs) for name in faults}
    channels = {name: _cycle(chance, FAULTS[name].channels) for name in faults}
    numbers = itertools.count()
    while True:
        for name in faults:
            fault, program = FAULTS[name], next(programs[name])
            yield Job(
                next(numbers),
                program,
                "dask" if program in ("ddp", "search") else next(channels[name]),
                name,
                int(chance.integers(fault.first, fault.last + 1)),
                int(chance.integers(2)),
                name.startswith("driver") and bool(chance.random() < 0.25),
            )


def _cycle(chance: np.random.Generator, choices: tuple[str, ...]) -> Iterator[str]:
    return itertools.cycle(chance.permutation(choices).tolist())
