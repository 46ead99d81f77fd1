"""What is typed on the command line, read: sizes, ranges of workers, strategies.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from course_lib.registry import lookup

STRATEGIES = {
    "sync": "sync[:ALGORITHM]",
    "virtual": "virtual:SHARDS",
    "local": "local:STEPS",
    "server": "server:STALENESS",
    "zero1": "zero1",
    "topk": "topk:FRACTION",
    "int8": "int8",
    "powersgd": "powersgd:RANK",
    "pipeline": "pipeline:STAGES:MICRO_BATCHES[:gpipe|1f1b]",
    "tensor": "tensor",
}


def sizes(text: str) -> list[int]:
    """Read the layers' widths.

    Examples
    --------
    >>> sizes("64,32,10")
    [64, 32, 10]
    """
    try:
        return [_positive(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected widths such as 64,32,10, got {text!r}."
        ) from error


def workers(text: str) -> int | tuple[int, int]:
    """Read how many workers.

    Examples
    --------
    >>> workers("4"), workers("2:8")
    (4, (2, 8))
    """
    try:
        low, *high = (_positive(part) for part in text.split(":"))
        if len(high) > 1:
            raise ValueError
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected a number such as 4, or LEAST:MOST such as 2:8, got {text!r}."
        ) from error
    return (low, high[0]) if high else low


def strategy(text: str) -> Any:
    """Read a strategy and its numbers.

    Raises
    ------
    ValueError
        If there is no such strategy, or its numbers are not those it takes.

    Examples
    --------
    >>> strategy("local:8")
    LocalSGD(h=8, algorithm='auto')
    """
    name, *given = text.split(":")
    form = lookup("strategy", name, STRATEGIES)
    try:
        return _make(name, *given)
    except TypeError as error:
        raise ValueError(f"--strategy {text}: expected {form}.") from error
    except ValueError as error:
        raise ValueError(f"--strategy {text}: expected {form}; {error}") from error


def _make(name: str, *given: str) -> Any:
    from course_lib.parallel.strategies import (
        AsyncParameterServer,
        Compressed,
        Int8,
        LocalSGD,
        Pipeline,
        PowerSGD,
        SyncSGD,
        TensorParallel,
        TopK,
        VirtualShards,
        ZeRO1,
    )

    def pipeline(stages: str, micro_batches: str, *schedule: str) -> Any:
        made = Pipeline(int(stages), int(micro_batches))
        return replace(made, schedule=schedule[0]) if schedule else made

    makers: dict[str, Callable[..., Any]] = {
        "sync": SyncSGD,
        "virtual": lambda shards: VirtualShards(int(shards)),
        "local": lambda h: LocalSGD(int(h)),
        "server": lambda staleness: AsyncParameterServer(int(staleness)),
        "zero1": lambda: ZeRO1(),
        "topk": lambda fraction: Compressed(TopK(float(fraction))),
        "int8": lambda: Compressed(Int8()),
        "powersgd": lambda rank: Compressed(PowerSGD(int(rank))),
        "pipeline": pipeline,
        "tensor": lambda: TensorParallel(),
    }
    return makers[name](*given)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{text} is below 1.")
    return value
