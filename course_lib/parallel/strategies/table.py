"""Which strategies there are, by name, and how each is made from a text such as ``"local:8"``.

``train(strategy="local:8")`` and ``course-lib train --strategy local:8`` both read it here.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from course_lib.arrays import check_instance
from course_lib.parallel.strategies.compressed import Compressed
from course_lib.parallel.strategies.compression import Int8, PowerSGD, TopK
from course_lib.parallel.strategies.data_parallel import SyncSGD
from course_lib.parallel.strategies.job import Strategy
from course_lib.parallel.strategies.local_sgd import LocalSGD
from course_lib.parallel.strategies.parameter_server import AsyncParameterServer
from course_lib.parallel.strategies.pipeline import Pipeline
from course_lib.parallel.strategies.tensor_parallel import TensorParallel
from course_lib.parallel.strategies.virtual_shards import VirtualShards
from course_lib.parallel.strategies.zero import ZeRO1
from course_lib.registry import lookup


class Kind(NamedTuple):
    """How a strategy is written, and what makes it of the parts after its name."""

    form: str
    make: Callable[..., Strategy]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number.") from None


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number.") from None


def _pipeline(stages: str, micro_batches: str, schedule: str = "gpipe") -> Pipeline:
    return Pipeline(_whole(stages), _whole(micro_batches), schedule)


STRATEGIES: dict[str, Kind] = {
    "sync": Kind("sync[:ALGORITHM]", SyncSGD),
    "virtual": Kind("virtual:SHARDS", lambda shards: VirtualShards(_whole(shards))),
    "local": Kind("local:STEPS", lambda h: LocalSGD(_whole(h))),
    "server": Kind("server:STALENESS", lambda staleness: AsyncParameterServer(_whole(staleness))),
    "zero1": Kind("zero1", lambda: ZeRO1()),
    "topk": Kind("topk:FRACTION", lambda fraction: Compressed(TopK(_fraction(fraction)))),
    "int8": Kind("int8", lambda: Compressed(Int8())),
    "powersgd": Kind("powersgd:RANK", lambda rank: Compressed(PowerSGD(_whole(rank)))),
    "pipeline": Kind("pipeline:STAGES:MICRO_BATCHES[:gpipe|1f1b]", _pipeline),
    "tensor": Kind("tensor", lambda: TensorParallel()),
}
"""All that have a name; a Mesh, and what else has more to choose, is made as an object.

Examples
--------
>>> for name, kind in STRATEGIES.items():
...     print(f"{name:8} {kind.form}")
sync     sync[:ALGORITHM]
virtual  virtual:SHARDS
local    local:STEPS
server   server:STALENESS
zero1    zero1
topk     topk:FRACTION
int8     int8
powersgd powersgd:RANK
pipeline pipeline:STAGES:MICRO_BATCHES[:gpipe|1f1b]
tensor   tensor
"""


def parse(text: str) -> Strategy:
    """Make a strategy from its name and its numbers, with colons between.

    Parameters
    ----------
    text : str
        One of the forms in :data:`STRATEGIES`; what stands in brackets may be left out.

    Raises
    ------
    ValueError
        If there is no such strategy, or its numbers are not those it takes.

    Examples
    --------
    >>> parse("local:8"), parse("sync"), parse("pipeline:2:8:1f1b").schedule
    (LocalSGD(h=8, algorithm='auto'), SyncSGD(algorithm='auto'), '1f1b')
    >>> parse("local:often")
    Traceback (most recent call last):
    ...
    ValueError: strategy 'local:often': expected local:STEPS; 'often' is not a whole number.
    """
    check_instance(text, str, where="parse", name="text", hint="such as 'local:8'")
    name, *given = text.split(":")
    kind = lookup("strategy", name, STRATEGIES)
    try:
        return kind.make(*given)
    except TypeError as error:  # too many parts, or too few
        raise ValueError(f"strategy {text!r}: expected {kind.form}.") from error
    except ValueError as error:
        raise ValueError(f"strategy {text!r}: expected {kind.form}; {error}") from error
