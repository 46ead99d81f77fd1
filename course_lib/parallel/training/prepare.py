"""From the arguments of a training to its job: all checked before anything is started.

Chapter: data parallelism.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from course_lib.arrays import Array, check_integer, check_theta
from course_lib.data import Split
from course_lib.evaluation import score_names
from course_lib.network import Network
from course_lib.parallel import channels
from course_lib.parallel.sources import open_data
from course_lib.parallel.strategies import (
    BACKENDS,
    Job,
    Strategy,
    SyncSGD,
    VirtualShards,
    parse,
)
from course_lib.parallel.training.recovery import describe
from course_lib.registry import lookup

CHANNELS = {name: name for name in (*channels.CHANNELS, "inprocess")}


def make_job(
    model: Network,
    data: Any,
    theta: Array | None,
    *,
    workers: tuple[int, int],
    strategy: str | Strategy,
    virtual_shards: int | None,
    **settings: Any,
) -> Job:
    """Return the job of :func:`~course_lib.parallel.train`; check its arguments."""
    if not isinstance(model, Network):
        raise TypeError(
            f"train: model must be a course_lib Network, got {type(model).__name__}; make one "
            "with mlp(sizes), and choose backend='torch' to compute with PyTorch."
        )
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        settings[name] = check_integer(settings[name], where="train", name=name, at_least=least)
    lookup("backend", settings["backend"], dict.fromkeys(BACKENDS, ""))
    found = open_data(model, data)
    if found is None:
        x, y = (data.x_train, data.y_train) if isinstance(data, Split) else data
        found = model.check_data(x, y, where="train")
    x, y = found
    if theta is None:
        theta = model.init(np.random.default_rng(settings["seed"]))
    check_theta(theta, where="train")
    model.unpack(theta)  # raises if its shape is wrong: better here than on every worker
    if settings["validation"] is not None:
        settings["validation"] = model.check_data(
            *settings["validation"], where="train, validation"
        )
    if settings.get("keep_best") is not None:  # better here than after an epoch
        held_out = score_names(model.loss) if settings["validation"] is not None else []
        names = ["loss", *(f"val_{name}" for name in held_out)]
        if settings["keep_best"] not in names:
            raise ValueError(
                f"train: keep_best must be one of {', '.join(names)}, got "
                f"{settings['keep_best']!r}; what begins with val_ needs validation=(x, y)."
            )
    x = x.astype(theta.dtype, copy=False)
    chosen = parse(strategy) if isinstance(strategy, str) else strategy
    if not isinstance(chosen, Strategy):
        raise TypeError(
            "train: strategy must be a text such as 'local:8' or a Strategy, got "
            f"{chosen!r}; a class of your own derives from course_lib.parallel.Strategy."
        )
    if virtual_shards is not None:
        if not isinstance(chosen, SyncSGD):
            raise ValueError(
                f"train: virtual_shards is for the strategy 'sync', and not for {chosen}; leave "
                "one of the two out."
            )
        chosen = VirtualShards(virtual_shards)
    chosen.check(model, workers=workers, backend=settings["backend"])
    job = Job(net=model, theta=theta, x=x, y=y, strategy=chosen, **settings)
    return job if job.saving is None else replace(job, config=describe(job))


def ranks_between(workers: int | tuple[int, int]) -> tuple[int, int]:
    """Return the least and the most ranks."""
    low, high = workers if isinstance(workers, tuple) else (workers, workers)
    low = check_integer(low, where="train", name="workers", at_least=1)
    high = check_integer(high, where="train", name="workers", at_least=1)
    if high < low:
        raise ValueError(
            f"train: workers=(least, most) needs least <= most, got {(low, high)}; "
            "for a fixed number, pass that alone."
        )
    return low, high
