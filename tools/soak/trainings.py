"""What is trained in the soak: small, slow enough to be hit in the middle, the same bits each time.

A training takes orders: its optimizer, its loss or its objective looks at each call whether the
soak has asked this process for a fault. So faults of a user's code need no patch of the package.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from course_lib import Adam, fit, mlp
from course_lib.evaluation import evaluate
from course_lib.parallel import Mesh, train
from course_lib.parallel.channels import OnChannel
from course_lib.parallel.launch import run_processes
from course_lib.parallel.training.events import Listener
from course_lib.parallel.training.prepare import make_job
from course_lib.parallel.training.recovery import first_job, saving
from course_lib.parallel.training.replica import train_replica

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(120, 8)), RNG.integers(0, 4, 120)
NET = mlp([8, 8, 8, 4], hidden="tanh", dropout=0.2)

EPOCHS, BATCH, EVERY = 4, 6, 5  # 80 steps, 16 checkpoints
PACE = 0.01  # seconds per step

STRATEGIES: dict[str, Any] = {
    **{
        text: text
        for text in (
            "sync", "virtual:4", "local:4", "server:0", "zero1", "topk:0.2", "int8",
            "powersgd:2", "pipeline:2:4", "pipeline:2:2:1f1b", "tensor",
        )
    },
    "mesh": Mesh(pipeline=2, micro_batches=2),
}  # fmt: skip
"""All that have a name, and a mesh."""

ORDERS: dict[str, float] = {}
"""What this process is to do wrong at its next call, with a number where one is needed."""


def give(name: str, number: float = 0.0) -> None:
    """Order a fault of this process; runs on a worker."""
    ORDERS[name] = number


def withdraw() -> list[str]:
    """Take back what was ordered and not done."""
    left = list(ORDERS)
    ORDERS.clear()
    return left


def take_memory(number: int) -> None:
    """Take so many bytes, and wait for whoever watches over them."""
    held = [b"\1" * (1 << 24) for _ in range(number >> 24)]
    time.sleep(20.0)
    held.clear()


def limit_memory() -> None:
    """Let this process have no more memory than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))


def obey() -> bool:
    """Do what was ordered; True if the numbers are to become NaN."""
    time.sleep(PACE)
    if "slow" in ORDERS:
        time.sleep(ORDERS.pop("slow"))
    if ORDERS.pop("exit", None) is not None:
        os._exit(3)
    if "take memory" in ORDERS:
        take_memory(int(ORDERS.pop("take memory")))
    if ORDERS.pop("no memory", None) is not None:
        limit_memory()
        np.ones(1 << 27)
    if ORDERS.pop("raise", None) is not None:
        raise ArithmeticError("ordered by the soak")
    return ORDERS.pop("nan", None) is not None


@dataclass(frozen=True)
class Paced(Adam):
    """Adam that takes its time, and takes orders."""

    def _update(self, theta: Any, g: Any, lr: float, t: int, *memory: Any) -> None:
        super()._update(theta, g, lr, t, *memory)
        if obey():
            theta[...] = np.nan


def digest(*parts: Any) -> str:
    """Return the SHA-256 sum of arrays, and of whatever JSON can say."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode())
    return found.hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How a training has ended: its bits, and how often it began anew."""

    digest: str
    restarts: int = 0


def train_network(strategy: str, **options: Any) -> Outcome:
    """Train with a strategy; options are those of ``parallel.train``."""
    options = {"workers": 2, "every": EVERY if "checkpoint" in options else None} | options
    result = train(
        NET, (X, Y), optimizer=Paced(0.01), epochs=EPOCHS, batch_size=BATCH, seed=5,
        strategy=STRATEGIES[strategy], validation=(X[:20], Y[:20]), **options,
    )  # fmt: skip
    return Outcome(digest(result.theta, result.history), result.restarts)


def train_on_processes(strategy: str, folder: str, timeout: float, on_event: Any) -> Outcome:
    """Train on two processes of this machine, without a cluster and without a second try."""
    given = {
        "optimizer": Paced(0.01), "epochs": EPOCHS, "batch_size": BATCH, "seed": 5,
        "strategy": STRATEGIES[strategy], "validation": (X[:20], Y[:20]), "workers": (2, 2),
        "virtual_shards": None, "backend": "numpy", "stop": None, "keep_best": None,
        "report": True, "saving": saving(folder, EVERY, 3),
    }  # fmt: skip
    job = first_job(make_job(NET, (X, Y), None, **given), "auto")
    program = OnChannel(train_replica)
    with Listener(on_event, epochs=EPOCHS) as listener:
        first, _ = run_processes(2, program, job, timeout=timeout, on_report=listener)
    return Outcome(digest(first.theta, first.history))


def paced_loss(outputs: Any, targets: Any) -> Any:
    """Cross-entropy per row for PyTorch, that takes orders."""
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(outputs, targets, reduction="none")
    return losses * float("nan") if obey() else losses


def make_optimizer(parameters: Any) -> Any:
    """Make PyTorch's Adam."""
    import torch

    return torch.optim.Adam(parameters, lr=0.01)


def train_module(**options: Any) -> Outcome:
    """Train with DistributedDataParallel; options are those of ``torch_ddp.train``."""
    import torch
    from torch.utils.data import TensorDataset

    from course_lib.parallel.torch_ddp import train as train_ddp

    torch.manual_seed(5)
    module = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 4)
    )
    data = TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(Y))
    result = train_ddp(
        module, data, paced_loss, make_optimizer, epochs=8, batch_size=12, seed=5, device="cpu",
        **options,
    )  # fmt: skip
    arrays = [tensor.numpy() for tensor in result.state_dict.values()]
    return Outcome(digest(*arrays, result.history), result.restarts)


def objective(trial: Any) -> float:
    """Train a little with the learning rate asked for, and score."""
    for _ in range(20):
        obey()
    theta = NET.init(np.random.default_rng(trial.seed))
    options = {"epochs": trial.budget, "batch_size": 20, "seed": trial.seed}
    result = fit(NET, theta, Adam(trial.config["lr"]), X, Y, **options)
    return -evaluate(NET, result.theta, X, Y)["loss"]


def search_rates(**options: Any) -> Outcome:
    """Search a learning rate; options are those of a search."""
    from course_lib.parallel.search import grid

    rates = {"lr": [0.1 / 2**k for k in range(8)]}
    result = grid(objective, rates, budget=2, **options)
    rows = sorted((row.trial, row.score, row.error) for row in result.rows)
    return Outcome(digest(rows))


def program(name: str) -> Callable[..., Outcome]:
    """Return the function of what stands in a plan: a strategy, ``ddp`` or ``search``."""
    if name == "ddp":
        return train_module
    if name == "search":
        return search_rates
    return lambda **options: train_network(name, **options)
