"""How long is a training step? course_lib beside what a reader would pick instead, in one process.

    python benchmarks/step.py [--threads 1] [--out benchmarks/results/step.json]

The candidates take turns, step by step, so that whatever else the machine does slows all of them
alike; the median of each is reported, and the ratio to course_lib. "matmuls" is the lower limit for
anything in NumPy: the matrix products of the step and nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from record import set_threads, write

NETWORKS = [
    ([64, 32, 10], 32),
    ([64, 128, 10], 64),
    ([784, 128, 10], 128),
    ([784, 512, 512, 10], 128),
    ([784, 1024, 1024, 10], 256),
]
LR = 0.01


def course_lib_step(sizes: list[int], x, y) -> Callable[[], None]:
    """Plain SGD in float32, in place, with a workspace: what `fit` does."""
    import numpy as np

    from course_lib import SGD, mlp

    net, optimizer = mlp(sizes), SGD(LR)
    theta = net.init(np.random.default_rng(0), np.float32)
    state, grad = optimizer.init(theta), np.empty_like(theta)
    workspace = net.workspace(len(x), np.float32)

    def step() -> None:
        net.loss_and_grad(theta, x, y, out=grad, workspace=workspace)
        optimizer.step(theta, grad, state, out=theta)

    return step


def torch_step(sizes: list[int], x, y) -> Callable[[], None]:
    """The same in eager PyTorch; the loss is read as a number, as ours is."""
    import torch

    modules = []
    for fan_in, fan_out in pairwise(sizes):
        modules += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model, loss_of = torch.nn.Sequential(*modules[:-1]), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def sklearn_step(sizes: list[int], x, y) -> Callable[[], None]:
    """The same in scikit-learn: one batch through `partial_fit`."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        sizes[1:-1], solver="sgd", learning_rate_init=LR, momentum=0.0, alpha=0.0,
        batch_size=len(x), random_state=0,
    )  # fmt: skip
    model.partial_fit(x, y, classes=range(sizes[-1]))
    return lambda: model.partial_fit(x, y)


def matmul_step(sizes: list[int], x, y) -> Callable[[], None]:
    """Only the matrix products: forward, weight gradients, and input gradients but the first."""
    import numpy as np

    rng = np.random.default_rng(0)
    layers = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        a, w, z = (
            rng.random(shape, dtype=np.float32)
            for shape in ((len(x), fan_in), (fan_in, fan_out), (len(x), fan_out))
        )
        layers.append((i, a, w, z, np.empty_like(w), np.empty_like(a)))

    def step() -> None:
        for i, a, w, z, dw, da in layers:
            np.matmul(a, w, out=z)
            np.matmul(a.T, z, out=dw)
            if i:
                np.matmul(z, w.T, out=da)

    return step


CANDIDATES = {
    "course_lib": course_lib_step,
    "torch": torch_step,
    "sklearn": sklearn_step,
    "matmuls": matmul_step,
}


def measure(sizes: list[int], batch: int, seconds: float) -> dict[str, float]:
    """Return the median time of a step in microseconds, for each candidate."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((batch, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], batch)
    steps = {name: make(sizes, x, y) for name, make in CANDIDATES.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(3):
        for step in steps.values():
            step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e6 * (time.perf_counter() - start))
    return {name: median(t) for name, t in times.items()}


def main() -> None:
    """Measure all networks, print a table of ratios, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="BLAS and PyTorch threads")
    parser.add_argument("--seconds", type=float, default=3.0, help="time per network")
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    args = parser.parse_args()
    set_threads(args.threads)
    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    print(f"{args.threads} thread(s), float32; time of a step relative to course_lib")
    print(f"{'network, batch':26}{'course_lib':>14}{'torch':>8}{'sklearn':>9}{'matmuls':>9}")
    rows = []
    for sizes, batch in NETWORKS:
        us = measure(sizes, batch, args.seconds)
        rows.append({"sizes": sizes, "batch": batch, "microseconds": us})
        ratio = {name: t / us["course_lib"] for name, t in us.items()}
        print(
            f"{'-'.join(map(str, sizes)) + f', {batch}':26}{us['course_lib']:>11.0f} us"
            f"{ratio['torch']:>8.2f}{ratio['sklearn']:>9.2f}{ratio['matmuls']:>9.2f}"
        )
    write(
        args.out,
        {"NumPy": np.__version__, "PyTorch": torch.__version__},
        threads=args.threads,
        rows=rows,
    )


if __name__ == "__main__":
    main()
