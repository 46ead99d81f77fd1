"""``course-lib predict``: what a saved model says of rows.

Chapter: none; this file serves the command line.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from course_lib.arrays import Array
from course_lib.atomic import write_bytes
from course_lib.cli.data import add_rows, load_rows
from course_lib.cli.options import place
from course_lib.model_file import load_model


def add_predict(commands: Any) -> None:
    """Add the command to a parser's commands."""
    command = commands.add_parser(
        "predict", help="use a trained network",
        description="Answer rows with a model that course-lib train --save has written.",
    )  # fmt: skip
    command.add_argument("model", type=place, metavar="MODEL", help="the file of the model")
    add_rows(command)
    command.add_argument(
        "--out", type=place, metavar="FILE.npz",
        help="write labels and probabilities here (default: print the labels, one per line)",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print the result as a line of JSON")
    command.set_defaults(run=run_predict)


def run_predict(options: argparse.Namespace) -> str:
    """Predict; return what to print."""
    net, theta = load_model(options.model)
    x, y = load_rows(options.data, str(theta.dtype), options.seed)
    if net.n_inputs is not None and x.shape[1] != net.n_inputs:
        raise ValueError(
            f"--data {options.data}: expected rows of {net.n_inputs} numbers, as {options.model} "
            f"was trained with, got {x.shape[1]}."
        )
    labels = net.predict(theta, x)
    right = None if y is None else float(np.mean(labels == y))
    if options.out is not None:
        _write(Path(options.out), {"labels": labels, "probabilities": net.predict_proba(theta, x)})
    if options.json:
        told = {"rows": len(x), "accuracy": right, "out": options.out}
        return json.dumps(told | ({} if options.out else {"labels": labels.tolist()}))
    if options.out is None:
        return "\n".join(map(str, labels.tolist()))
    judged = "" if right is None else f", accuracy {right:.4f}"
    return f"{len(x)} rows{judged}; written to {options.out}"


def _write(path: Path, arrays: dict[str, Array]) -> None:
    if path.suffix != ".npz":
        raise ValueError(f"--out {path}: expected a name that ends with .npz.")
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())
