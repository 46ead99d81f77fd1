"""From the arguments of a training to its job: all checked before anything is started.

Chapter: data parallelism.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from course_lib.arrays import (
    Array,
    check_callable,
    check_flag,
    check_instance,
    check_integer,
    check_theta,
    shown,
)
from course_lib.clipping import check_clip
from course_lib.data import Split
from course_lib.network import Network
from course_lib.optimizers import Optimizer
from course_lib.parallel import channels
from course_lib.parallel.sources import open_data, warn_of_blocks
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
from course_lib.training import check_callbacks, check_judging, check_weights

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
    hint = "such as Adam(0.001)"
    check_instance(settings["optimizer"], Optimizer, where="train", name="optimizer", hint=hint)
    if settings.get("stop") is not None:
        check_callable(settings["stop"], where="train", name="stop", takes=("history",))
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        settings[name] = check_integer(settings[name], where="train", name=name, at_least=least)
    settings["shuffle"] = check_flag(settings.get("shuffle", True), where="train", name="shuffle")
    lookup("backend", settings["backend"], dict.fromkeys(BACKENDS, ""))
    x, y = open_data(model, data)
    warn_of_blocks(x, y, stacklevel=4)
    if theta is None:
        theta = model.init(np.random.default_rng(settings["seed"]))
    check_theta(theta, where="train", finite=True)
    model.unpack(theta)  # raises if its shape is wrong: better here than on every worker
    if settings["validation"] is not None:
        given = settings["validation"]
        held_out = (given.x_test, given.y_test) if isinstance(given, Split) else given
        settings["validation"] = open_data(model, held_out, where="train, validation")
    settings["set_metrics"], _ = check_judging(
        model.loss, settings.get("set_metrics"), settings.get("keep_best"), settings.get("better"),
        held_out=settings["validation"] is not None, where="train",
    )  # fmt: skip
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
    given = settings.get("callbacks", ())
    settings["callbacks"] = check_callbacks(given, None, where="train")
    settings["clip"] = check_clip(settings.get("clip"), where="train")
    settings["weights"] = check_weights(settings.get("weights"), model.loss, len(x), where="train")
    for name, does, what in (
        ("clip", chosen.clips, "clips"),
        ("weights", chosen.weighs, "weighs"),
    ):
        if settings[name] is not None and not does:
            raise ValueError(
                f"train: the strategy {chosen} does not say that it {what}; leave {name} out. A "
                f"class of your own whose sessions heed job.{name} says {what} = True."
            )
    chosen.check(model, workers=workers, backend=settings["backend"])
    if workers[0] < workers[1] and not chosen.elastic:
        raise ValueError(
            f"train: workers={workers} lets the number of ranks change, and the strategy {chosen} "
            f"does not say that it can go on with another; pass workers={workers[1]}. A class of "
            "your own that can says elastic = True."
        )
    job = Job(net=model, theta=theta, x=x, y=y, strategy=chosen, **settings)
    return job if job.saving is None else replace(job, config=describe(job))


def ranks_between(workers: int | tuple[int, int]) -> tuple[int, int]:
    """Return the least and the most ranks."""
    pair = workers if isinstance(workers, tuple | list) else (workers, workers)
    if len(pair) != 2:
        raise ValueError(
            f"train: workers must be a number of ranks, or (least, most), got {shown(workers)}."
        )
    low, high = pair
    low = check_integer(low, where="train", name="workers", at_least=1)
    high = check_integer(high, where="train", name="workers", at_least=1)
    if high < low:
        raise ValueError(
            f"train: workers=(least, most) needs least <= most, got {(low, high)}; "
            "for a fixed number, pass that alone."
        )
    return low, high
