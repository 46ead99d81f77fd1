"""Which device does each rank compute on? All on GPUs of their own, or all on processors.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from course_lib.parallel.collectives import all_gather_object
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import ParallelError
from course_lib.registry import lookup

DEVICES = ("auto", "cpu", "cuda")


def own_device(comm: Comm, device: str = "auto") -> torch.device:
    """Agree with all ranks on what to compute on; return this rank's device.

    Parameters
    ----------
    comm : Comm
        This rank's communicator; all ranks must call this at the same time.
    device : {"auto", "cpu", "cuda"}
        ``"auto"``: GPUs if every rank sees one, processors if none does.

    Raises
    ------
    ParallelError
        If some ranks have a GPU of their own and others do not.
    """
    lookup("device", device, dict.fromkeys(DEVICES))
    if device == "cpu":
        return torch.device("cpu")
    index = choose_devices(all_gather_object(comm, _visible()), device)
    if index is None:
        return torch.device("cpu")
    torch.cuda.set_device(index[comm.rank])
    return torch.device("cuda", index[comm.rank])


def choose_devices(visible: Sequence[Sequence[str]], device: str = "auto") -> list[int] | None:
    """Give each rank a GPU of its own, by the place in the rank's own list; None: processors.

    Names of GPUs are unique in the world. By "auto", processors do where no rank sees a GPU.

    Examples
    --------
    >>> choose_devices([["a", "b"], ["a", "b"], ["c", "d"]])
    [0, 1, 0]

    Dask-CUDA gives each worker the same list, turned by one more:

    >>> choose_devices([["a", "b"], ["b", "a"]])
    [0, 0]
    """
    if device == "auto" and not any(visible):
        return None
    taken: set[str] = set()
    index: list[int] = []
    without: list[int] = []
    for rank, names in enumerate(visible):
        free = [i for i, name in enumerate(names) if name not in taken]
        if not free:
            without.append(rank)
            continue
        index.append(free[0])
        taken.add(names[free[0]])
    if without:
        raise ParallelError(
            f"{len(index)} of {len(visible)} ranks have a GPU of their own, and rank(s) "
            f"{', '.join(map(str, without))} have none: NCCL needs one for each. Use as many "
            "workers as there are GPUs, or device='cpu' for all.",
            rank=without[0],
        )
    return index


def _visible() -> list[str]:
    if not (torch.cuda.is_available() and dist.is_nccl_available()):
        return []
    cuda = torch.cuda
    return [str(cuda.get_device_properties(i).uuid) for i in range(cuda.device_count())]
