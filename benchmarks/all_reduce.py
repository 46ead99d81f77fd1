"""How long does an all-reduce take? Our channels beside PyTorch's gloo, in the same two processes.

    python benchmarks/all_reduce.py [--ranks 2] [--out benchmarks/results/all_reduce.json]

The channels take turns of ten all-reduces, so that whatever else the machine does slows all of them
alike. The slowest rank's time counts. Two numbers over the turns are reported, per all-reduce: the
median, and the best tenth, which is nearer to what a machine does that is left alone. The sizes
are the gradients, in float32, of 64-128-10 (38 KB), 784-128-10 (407 KB), 784-512-512-10 (2.7 MB)
and 784-1024-1024-10 (7.5 MB).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from record import set_threads, write

SIZES = {"38 KB": 9_610, "407 KB": 101_770, "2.7 MB": 669_706, "7.5 MB": 1_863_690}

PER_TURN = 10


def repeat(call) -> None:
    for _ in range(PER_TURN):
        call()


def program(comm, seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    """Measure on one rank; return microseconds by statistic, size and channel."""
    import numpy as np
    import torch

    from course_lib.parallel.channels import SharedMemory, TorchComm
    from course_lib.parallel.collectives import all_gather, all_reduce, barrier

    torch.set_num_threads(1)
    shared, gloo = SharedMemory(comm), TorchComm(comm, "gloo")
    found = {"median": {}, "best tenth": {}}
    for size, n in SIZES.items():
        array, tensor = shared.buffer(n, np.float32), torch.zeros(n)
        elsewhere = np.zeros(n, np.float32)
        calls = {
            "gloo": lambda tensor=tensor: torch.distributed.all_reduce(tensor),
            "shared memory": lambda array=array: all_reduce(shared, array),
            "shared memory, copied": lambda array=elsewhere: all_reduce(shared, array),
            "pipes, ordered": lambda array=elsewhere: all_reduce(comm, array, "ordered"),
        }
        times = {name: [] for name in calls}
        for call in calls.values():
            for _ in range(3):
                call()
        # The same number of turns on every rank: they agree on how long a turn takes.
        start = time.perf_counter()
        for call in calls.values():
            repeat(call)
        turn = max(float(t[0]) for t in all_gather(comm, np.array([time.perf_counter() - start])))
        for _ in range(max(5, int(seconds / len(SIZES) / turn))):
            for name, call in calls.items():
                barrier(shared)
                start = time.perf_counter()
                repeat(call)
                times[name].append((time.perf_counter() - start) / PER_TURN)
        for name, t in times.items():
            slowest = 1e6 * np.max(all_gather(comm, np.array(t)), axis=0)
            for which, quantile in (("median", 0.5), ("best tenth", 0.1)):
                found[which].setdefault(size, {})[name] = float(np.quantile(slowest, quantile))
    gloo.close()
    shared.close()
    return found


def main() -> None:
    """Measure all sizes, print a table, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="time for all sizes together")
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    args = parser.parse_args()
    set_threads(1)
    import numpy as np
    import torch

    from course_lib.parallel.launch import run_processes

    found = run_processes(args.ranks, program, args.seconds)[0]
    print(f"all-reduce between {args.ranks} processes, microseconds (how many times gloo's speed)")
    for which, by_size in found.items():
        names = list(by_size["38 KB"])
        print(f"{which:12}" + "".join(f"{name:>24}" for name in names))
        for size, us in by_size.items():
            ratios = (f"{us[name]:,.0f} ({us['gloo'] / us[name]:.1f})" for name in names)
            print(f"{size:12}" + "".join(f"{ratio:>24}" for ratio in ratios))
    write(
        args.out,
        {"NumPy": np.__version__, "PyTorch": torch.__version__},
        ranks=args.ranks,
        microseconds=found,
    )


if __name__ == "__main__":
    main()
