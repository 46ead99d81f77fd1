"""``course-lib search``: hyper-parameters by grid, at random, by halving or by Hyperband.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course_lib import optimizers
from course_lib.cli.cluster import add_cluster, opened
from course_lib.cli.data import add_data, load
from course_lib.cli.options import number, whole
from course_lib.network import mlp
from course_lib.parallel import search
from course_lib.parallel.search import Candidate, Integers, LogUniform, Uniform
from course_lib.registry import lookup

_READ: dict[str, Callable[[str], Any]] = {
    "lr": number, "batch_size": whole(), "width": whole(), "depth": whole(0), "dropout": number,
}  # fmt: skip

_WHOLE = {"batch_size", "width", "depth"}

_DEFAULT: dict[str, Any] = {
    "lr": 0.01, "batch_size": 32, "width": 32, "depth": 1, "dropout": 0.0, "optimizer": "adam",
}  # fmt: skip

_METHODS = ("grid", "random", "halving", "hyperband")


@dataclass(frozen=True)
class Build:
    """Makes, of a configuration, a network of equal hidden layers and how to train it."""

    features: int
    classes: int

    def __call__(self, config: dict[str, Any]) -> Any:
        """Return the candidate."""
        c = _DEFAULT | config
        sizes = [self.features, *[c["width"]] * c["depth"], self.classes]
        net = mlp(sizes, dropout=c["dropout"])
        return Candidate(net, optimizers.get(c["optimizer"], c["lr"]), c["batch_size"])


_TRIED = Build(features=1, classes=2)  # refuses what no network can be built of


def add_search(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "search",
        help="search for hyper-parameters",
        description="Train many configurations, several at a time; the score is the accuracy on "
        "a fifth of the training data.",
    )
    add_data(command)
    group = command.add_argument_group("what to try")
    group.add_argument(
        "--try", action="append", dest="tries", metavar="NAME=VALUES", required=True,
        help="choices such as width=16,32,64 or optimizer=sgd,adam, or a range such as "
        f"lr=1e-4:1e-1:log or depth=1:3; names: {', '.join(_DEFAULT)}; may be repeated",
    )  # fmt: skip
    group.add_argument("--method", default="halving", choices=_METHODS, help="(default: halving)")
    group.add_argument(
        "--trials", type=whole(), default=9, help="configurations drawn (default: 9)"
    )
    group.add_argument(
        "--epochs", type=whole(), default=9,
        help="of each trial (grid, random), or of the longest (hyperband) (default: 9); halving "
        "starts with one epoch",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=whole(0), default=0, help="decides everything random (default: 0)"
    )
    add_cluster(command)
    command.add_argument("--progress", action="store_true", help="show a progress bar")
    command.add_argument("--json", action="store_true", help="print the result as a line of JSON")
    command.set_defaults(run=run_search)


def run_search(options: argparse.Namespace) -> str:
    """Search; return what to print."""
    space = dict(_read(text) for text in options.tries)
    if len(space) < len(options.tries):
        raise ValueError(
            f"--try: expected each name once, got {' '.join(options.tries)}; give all values of a "
            "name in one --try."
        )
    data = load(options)
    if isinstance(data.train, Path) or isinstance(data.train[0], str):
        raise ValueError(
            f"--data {options.data}: a search keeps its data in memory; give a name or a .npz file."
        )
    objective = search.fit_objective(
        Build(data.features, data.classes), data.train, seed=options.seed
    )
    n = options.workers[1] if isinstance(options.workers, tuple) else options.workers
    with opened(options) as client:
        common: search.SearchOptions = {
            "seed": options.seed, "workers": n, "client": client, "timeout": options.timeout,
            "comm": options.comm, "progress": options.progress,
        }  # fmt: skip
        if options.method == "grid":
            result = search.grid(objective, space, budget=options.epochs, **common)
        elif options.method == "random":
            result = search.random(
                objective, space, n=options.trials, budget=options.epochs, **common
            )
        elif options.method == "halving":
            result = search.successive_halving(objective, space, n=options.trials, **common)
        else:
            result = search.hyperband(objective, space, max_budget=options.epochs, **common)
    best = result.best  # raises if every trial failed
    if options.json:
        return json.dumps({"best": asdict(best), "rows": result.table, "seconds": result.seconds})
    return result.report()


def _read(text: str) -> tuple[str, Any]:
    name, _, values = text.partition("=")
    name = name.replace("-", "_")
    lookup("hyper-parameter", name, _DEFAULT)
    if name == "optimizer":
        chosen = values.split(",")
        for one in chosen:
            lookup("optimizer", one, optimizers.ALL)
        return name, chosen
    read = _READ[name]
    try:
        if ":" not in values:
            chosen = [read(value) for value in values.split(",")]
            for one in chosen:
                _TRIED({name: one})
            return name, chosen
        low, high, *scale = values.split(":")
        if scale not in ([], ["log"]) or (scale and name in _WHOLE):
            raise ValueError("the third part of a range may be log, for a number that is not whole")
        kind: Any = Integers if name in _WHOLE else LogUniform if scale else Uniform
        ends = read(low), read(high)
        _TRIED({name: ends[0]})  # the upper end of a range that is not whole is not in it
        return name, kind(*ends)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise ValueError(
            f"--try {text}: expected NAME=A,B,C or NAME=LOW:HIGH[:log]; {str(error).rstrip('.')}."
        ) from error
