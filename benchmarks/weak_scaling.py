"""Two workers with twice the data: how much more is trained per second? Beside PyTorch's DDP.

    python benchmarks/weak_scaling.py [--seconds 30] [--out benchmarks/results/weak_scaling.json]

784-512-512-10, float32, batch 128 per worker, plain SGD; two processes of one thread each. Ours:
the three statements of data-parallel training, over shared memory. PyTorch:
DistributedDataParallel on gloo, in the same two processes. One worker: rank 0 alone, while rank 1
sleeps. No communication: both ranks compute, each for itself, which is the limit for any channel
on this machine. All take turns of three steps; the slowest rank's time counts. Two numbers over
the turns are reported: the median, and the best tenth, which is nearer to what a machine does that
is left alone.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

from record import set_threads, write

SIZES, BATCH, LR = [784, 512, 512, 10], 128, 0.01
PER_TURN = 3
OURS_1, OURS_2, ALONE_2 = "course_lib, 1", "course_lib, 2", "no communication, 2"
TORCH_1, DDP_2 = "PyTorch, 1", "PyTorch DDP gloo, 2"


def course_lib_step(comm, x, y):
    """What SyncSGD does in a step; without a communicator, what `fit` does."""
    import numpy as np

    from course_lib import SGD, mlp
    from course_lib.parallel.collectives import all_reduce

    net, optimizer = mlp(SIZES), SGD(LR)
    theta = net.init(np.random.default_rng(0), np.float32)
    state, n = optimizer.init(theta), len(theta)
    gradient = np.zeros(n, np.float32) if comm is None else comm.buffer(n, np.float32)
    workspace = net.workspace(BATCH, np.float32)
    rows = BATCH * (1 if comm is None else comm.size)

    def step() -> None:
        net.loss_and_grad(theta, x, y, denominator=rows, out=gradient, workspace=workspace)
        if comm is not None:
            all_reduce(comm, gradient)
        optimizer.step(theta, gradient, state, out=theta)

    return step


def torch_step(distributed: bool, x, y):
    import torch

    torch.manual_seed(0)
    modules = []
    for fan_in, fan_out in pairwise(SIZES):
        modules += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    if distributed:
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    loss_of = torch.nn.CrossEntropyLoss()
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()  # the loss is read as a number, as ours is

    return step


def program(comm, seconds: float) -> dict[str, dict[str, float]]:
    """Measure on one rank; return milliseconds per step by statistic, of the slowest rank."""
    import numpy as np
    import torch

    from course_lib.parallel.channels import SharedMemory, TorchComm
    from course_lib.parallel.collectives import all_gather, barrier

    torch.set_num_threads(1)
    shared, gloo = SharedMemory(comm), TorchComm(comm, "gloo")
    rng = np.random.default_rng(comm.rank)
    x = rng.random((BATCH, SIZES[0]), dtype=np.float32)
    y = rng.integers(0, SIZES[-1], BATCH)
    alone, plain = course_lib_step(None, x, y), torch_step(False, x, y)
    # Step, and whether all ranks take it.
    steps = {
        OURS_1: (alone, False),
        OURS_2: (course_lib_step(shared, x, y), True),
        ALONE_2: (alone, True),
        TORCH_1: (plain, False),
        DDP_2: (torch_step(True, x, y), True),
    }
    times = {name: [] for name in steps}

    def turn() -> None:
        for name, (step, together) in steps.items():
            barrier(shared)
            start = time.perf_counter()
            if together or comm.rank == 0:
                for _ in range(PER_TURN):
                    step()
            times[name].append((time.perf_counter() - start) / PER_TURN)

    turn()
    start = time.perf_counter()
    turn()
    took = max(float(t[0]) for t in all_gather(comm, np.array([time.perf_counter() - start])))
    for name in times:
        times[name].clear()
    for _ in range(max(3, int(seconds / took))):
        turn()
    slowest = {
        name: np.max(all_gather(comm, np.array(t)), axis=0).tolist() for name, t in times.items()
    }
    gloo.close()
    shared.close()
    return {
        which: {name: 1e3 * float(np.quantile(t, quantile)) for name, t in slowest.items()}
        for which, quantile in (("median", 0.5), ("best tenth", 0.1))
    }


def main() -> None:
    """Measure, print tables of times and ratios, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    args = parser.parse_args()
    set_threads(1)
    import numpy as np
    import torch

    from course_lib.parallel.launch import run_processes

    found = run_processes(2, program, args.seconds)[0]
    print(f"{'-'.join(map(str, SIZES))}, float32, batch {BATCH} per worker")
    ratios = {which: show(which, ms) for which, ms in found.items()}
    write(
        args.out,
        {"NumPy": np.__version__, "PyTorch": torch.__version__},
        sizes=SIZES,
        batch_per_worker=BATCH,
        milliseconds=found,
        ratios=ratios,
    )


def show(which: str, ms: dict[str, float]) -> dict[str, float]:
    """Print times and ratios; return the ratios."""
    rate = {name: (2 if name.endswith("2") else 1) * 1e3 * BATCH / t for name, t in ms.items()}
    ratios = {
        "course_lib, 2 workers / 1": rate[OURS_2] / rate[OURS_1],
        "PyTorch, 2 workers / 1": rate[DDP_2] / rate[TORCH_1],
        "limit of the machine: no communication, 2 / 1": rate[ALONE_2] / rate[OURS_1],
        "2 workers, course_lib / PyTorch": rate[OURS_2] / rate[DDP_2],
    }
    print(f"{which}:")
    for name, t in ms.items():
        print(f"  {name:24}{t:10.2f} ms per step {rate[name]:10,.0f} rows per second")
    for name, ratio in ratios.items():
        print(f"  {name:48}{ratio:6.2f}")
    return ratios


if __name__ == "__main__":
    main()
