"""``course-lib train``: one training, as :func:`course_lib.parallel.train` does it.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from course_lib import optimizers
from course_lib.cli.cluster import add_cluster, opened
from course_lib.cli.data import add_data, load
from course_lib.cli.options import number, place, sizes, whole
from course_lib.early_stopping import EarlyStopping
from course_lib.model_file import save_model
from course_lib.network import mlp
from course_lib.parallel import train
from course_lib.parallel.strategies import STRATEGIES, parse

# Options that train calls by the same name.
_SAME = (
    "epochs", "batch_size", "workers", "comm", "backend", "seed", "checkpoint", "every",
    "max_restarts", "timeout", "progress",
)  # fmt: skip


def add_train(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "train", help="train a network", description="Train a classifier on one or more workers."
    )
    add_data(command)
    group = command.add_argument_group("network and training")
    group.add_argument(
        "--sizes", type=sizes, metavar="64,32,10",
        help="inputs, hidden units, classes (default: one hidden layer of 32)",
    )  # fmt: skip
    group.add_argument("--activation", default="relu", help="of the hidden layers (default: relu)")
    group.add_argument("--dropout", type=number, default=0.0, help="rate (default: 0)")
    group.add_argument(
        "--optimizer", default="adam", metavar="NAME",
        help=f"{', '.join(optimizers.ALL)} (default: adam)",
    )  # fmt: skip
    group.add_argument("--lr", type=number, default=0.01, help="learning rate (default: 0.01)")
    group.add_argument(
        "--epochs", type=whole(), default=10, help="passes over the data (default: 10)"
    )
    group.add_argument(
        "--batch-size", type=whole(), default=32, help="rows per step of all workers (default: 32)"
    )
    group.add_argument(
        "--seed", type=whole(0), default=0, help="decides everything random (default: 0)"
    )
    group.add_argument(
        "--backend", default="numpy", choices=("numpy", "torch"),
        help="computes the gradients (default: numpy)",
    )  # fmt: skip
    group.add_argument(
        "--patience", type=whole(), metavar="EPOCHS", help="stop early after so many"
    )
    group.add_argument(
        "--strategy", default="sync", metavar="NAME[:NUMBER]",
        help=f"{', '.join(kind.form for kind in STRATEGIES.values())} (default: sync)",
    )  # fmt: skip
    add_cluster(command)
    group = command.add_argument_group("checkpoints and output")
    group.add_argument(
        "--checkpoint",
        type=place,
        metavar="DIR",
        help="save here, and go on from what was saved here",
    )
    group.add_argument(
        "--every", type=whole(), metavar="STEPS", help="save so often (default: epochs)"
    )
    group.add_argument(
        "--max-restarts", type=whole(0), default=2, help="failures to survive (default: 2)"
    )
    group.add_argument(
        "--save", type=place, metavar="FILE", help="write the trained model here, for predict"
    )
    group.add_argument("--progress", action="store_true", help="show a progress bar")
    group.add_argument("--json", action="store_true", help="print the result as a line of JSON")
    command.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> str:
    """Train; return what to print."""
    data = load(options)
    sizes = options.sizes or [data.features, 32, data.classes]
    net = mlp(sizes, hidden=options.activation, dropout=options.dropout)
    if sizes[-1] < data.classes:
        raise ValueError(
            f"--sizes must end with at least {data.classes}, the number of classes in "
            f"{options.data}, got {options.sizes}."
        )
    stop = None
    if options.patience is not None:
        metric = "loss" if data.validation is None else "val_loss"
        stop = EarlyStopping(patience=options.patience, metric=metric)
    strategy = parse(options.strategy)
    optimizer = optimizers.get(options.optimizer, options.lr)
    theta = None
    if options.dtype != "float64":
        theta = net.init(np.random.default_rng(options.seed), dtype=np.dtype(options.dtype))
    if options.checkpoint is not None and options.scheduler is None:
        _make_folder(Path(options.checkpoint))  # fails now, not at the end of an epoch
    if options.save is not None:
        _make_folder(Path(options.save).absolute().parent)
    with opened(options) as client:
        result = train(
            net, data.train, optimizer=optimizer, strategy=strategy, client=client, theta=theta,
            validation=data.validation, stop=stop, **{name: vars(options)[name] for name in _SAME},
        )  # fmt: skip
    if options.save is not None:
        save_model(options.save, net, result.theta)
    if not options.json:
        last = {name: values[-1] for name, values in result.history.items() if values}
        end = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        return f"{result.report()}\nafter {len(result.history['loss'])} epochs: {end}"
    return json.dumps(
        {
            "history": result.history,
            "epochs": len(result.history["loss"]),
            "theta_sha256": hashlib.sha256(result.theta.tobytes()).hexdigest(),
            "replicas_identical": result.replicas_identical,
            "workers": len(result.timing),
            "restarts": result.restarts,
            "seconds": result.seconds,
            "strategy": repr(strategy),
            "optimizer": repr(optimizer),
            "checkpoint": options.checkpoint,
            "save": options.save,
        }
    )


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
