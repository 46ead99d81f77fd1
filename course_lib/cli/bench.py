"""``course-lib bench``: how much faster training is on p workers, here.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np

from course_lib.cli.cluster import add_cluster, opened
from course_lib.cli.options import seconds, sizes, whole
from course_lib.network import mlp
from course_lib.optimizers import SGD
from course_lib.parallel import train


def add_bench(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "bench",
        help="measure how training scales",
        description="Train the same network on made-up data with 1, 2, 4, ... workers, and print "
        "the time of a step and the speed-up. Weak scaling: the batch grows with the workers.",
    )
    group = command.add_argument_group("what to measure")
    group.add_argument(
        "--sizes", type=sizes, default=[784, 512, 512, 10], metavar="784,512,512,10",
        help="of the network (default: 784,512,512,10)",
    )  # fmt: skip
    group.add_argument("--batch-size", type=whole(), default=128, help="rows (default: 128)")
    group.add_argument(
        "--scaling", default="weak", choices=("weak", "strong"),
        help="--batch-size counts the rows of each worker, or of all together (default: weak)",
    )  # fmt: skip
    group.add_argument(
        "--strategy", default="sync", metavar="NAME[:NUMBER]", help="as of train (default: sync)"
    )
    group.add_argument(
        "--dtype", default="float32", choices=("float32", "float64"),
        help="of the numbers (default: float32)",
    )  # fmt: skip
    group.add_argument("--steps", type=whole(), default=50, help="per measurement (default: 50)")
    group.add_argument(
        "--seconds", type=seconds, default=math.inf, help="start no measurement after this time"
    )
    add_cluster(command)
    command.add_argument("--json", action="store_true", help="print the result as a line of JSON")
    command.set_defaults(run=run_bench)


def run_bench(options: argparse.Namespace) -> str:
    """Measure; return what to print."""
    most = options.workers[1] if isinstance(options.workers, tuple) else options.workers
    numbers = sorted({most} | {1 << i for i in range(most.bit_length())})
    rows: list[dict[str, float]] = []
    start = time.perf_counter()
    with opened(options) as client:
        for p in numbers:
            if rows and time.perf_counter() - start > options.seconds:
                break
            rows.append(_measure(options, client, p))
            rows[-1]["speedup"] = rows[-1]["rows_per_second"] / rows[0]["rows_per_second"]
    if options.json:
        return json.dumps({"scaling": options.scaling, "rows": rows})
    lines = ["workers  ms/step  compute  communication  rows/s  speed-up  efficiency"]
    for row in rows:
        share = 100 * row["communication"] / (row["compute"] + row["communication"])
        lines.append(
            f"{row['workers']:7d}  {1e3 * row['step_seconds']:7.2f}  {100 - share:5.0f} %  "
            f"{share:11.0f} %  {row['rows_per_second']:6.0f}  {row['speedup']:8.2f}  "
            f"{100 * row['speedup'] / row['workers']:8.0f} %"
        )
    return "\n".join(lines)


def _measure(options: argparse.Namespace, client: Any, p: int) -> dict[str, float]:
    batch = options.batch_size * (p if options.scaling == "weak" else 1)
    rng = np.random.default_rng(0)
    net = mlp(options.sizes)
    x = rng.standard_normal((batch, options.sizes[0]), dtype=np.float64).astype(options.dtype)
    y = rng.integers(options.sizes[-1], size=batch)
    result = train(
        net, (x, y), optimizer=SGD(1e-3), theta=net.init(rng, dtype=np.dtype(options.dtype)),
        epochs=options.steps, batch_size=batch,  # an epoch is one batch
        strategy=options.strategy, workers=p, client=client, comm=options.comm,
        timeout=options.timeout,
    )  # fmt: skip
    slowest = max(result.timing, key=lambda t: t.compute + t.communication)
    seconds = (slowest.compute + slowest.communication) / options.steps
    return {
        "workers": p,
        "step_seconds": seconds,
        "compute": slowest.compute,
        "communication": slowest.communication,
        "rows_per_second": batch / seconds,
    }
