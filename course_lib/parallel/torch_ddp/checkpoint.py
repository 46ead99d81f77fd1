"""Checkpoints of a module, its optimizer and whatever else has a ``state_dict``, on many ranks.

Rank 0 writes; rank 0 reads, and sends what it read to the others, whose machines need not have
the folder.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import numpy as safetensors
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from course_lib import checkpoint
from course_lib.arrays import Array
from course_lib.parallel.collectives import broadcast, broadcast_object
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import CheckpointMismatch

# NumPy has no such numbers; their bits are kept, and the type's name.
_AS_BITS = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e5m2: torch.uint8,
}


def to_arrays(part: str, value: Any) -> tuple[Any, dict[str, Array]]:
    """Take a ``state_dict()`` apart: a skeleton that JSON can say, and its tensors as named arrays.

    Examples
    --------
    >>> to_arrays("optimizer", {"state": {0: {"step": torch.tensor(2.0)}}, "lr": 0.1})[1]
    {'optimizer.state.0.step': array(2., dtype=float32)}
    """
    arrays: dict[str, Array] = {}

    def walk(path: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous()
            kind = str(tensor.dtype).removeprefix("torch.")
            # A copy: training goes on in place.
            arrays[path] = tensor.view(_AS_BITS.get(tensor.dtype, tensor.dtype)).numpy().copy()
            return {"tensor": path, "dtype": kind}
        if isinstance(value, Mapping):
            # Pairs, because keys may be whole numbers, which JSON does not have.
            return {"dict": [[key, walk(f"{path}.{key}", v)] for key, v in value.items()]}
        if isinstance(value, list | tuple):
            name = "tuple" if isinstance(value, tuple) else "list"
            return {name: [walk(f"{path}.{i}", v) for i, v in enumerate(value)]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(
            f"save: {path} is a {type(value).__name__}; only tensors, numbers, strings, None, and "
            "dicts and lists of them can be saved without pickle."
        )

    return walk(part, value), arrays


def from_arrays(skeleton: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo :func:`to_arrays`."""
    if not isinstance(skeleton, Mapping):
        return skeleton
    if "tensor" in skeleton:
        return torch.from_numpy(arrays[skeleton["tensor"]]).view(getattr(torch, skeleton["dtype"]))
    if "dict" in skeleton:
        return {key: from_arrays(value, arrays) for key, value in skeleton["dict"]}
    if "tuple" in skeleton:
        return tuple(from_arrays(value, arrays) for value in skeleton["tuple"])
    return [from_arrays(value, arrays) for value in skeleton["list"]]


class Saved(NamedTuple):
    """What a checkpoint held besides the parts: the steps taken, and the facts given to save."""

    step: int
    meta: dict[str, Any]


def save_parts(
    directory: checkpoint.StrPath, parts: Mapping[str, Any], *, step: int,
    meta: Mapping[str, Any] | None, keep: int,
) -> str:  # fmt: skip
    """Write the parts' state dictionaries; return the path of the manifest."""
    arrays: dict[str, Array] = {}
    skeletons = {}
    for name, part in parts.items():
        skeletons[name], own = to_arrays(name, _unwrap(part).state_dict())
        arrays.update(own)
    facts = {"parts": skeletons, "meta": dict(meta or {})}
    return str(checkpoint.save(directory, step=step, arrays=arrays, meta=facts, keep=keep))


def load_parts(comm: Comm, directory: checkpoint.StrPath, parts: Mapping[str, Any]) -> Saved | None:
    """Give the parts the state of the newest checkpoint that is whole, the same on every rank."""
    facts, raw = None, np.zeros(0, np.uint8)
    if comm.rank == 0 and (found := checkpoint.latest_valid(directory)) is not None:
        raw = np.frombuffer(safetensors.save(found.arrays), np.uint8).copy()
        facts = {"step": found.step, "bytes": len(raw), **found.meta}
    facts = broadcast_object(comm, facts)
    if facts is None:
        return None
    if comm.rank != 0:
        raw = np.zeros(facts["bytes"], np.uint8)
    loaded = safetensors.load(broadcast(comm, raw).tobytes())
    arrays = {name: array.copy() for name, array in loaded.items()}
    if missing := sorted(set(parts) - set(facts["parts"])):
        raise CheckpointMismatch(
            f"load: the checkpoint of step {facts['step']} in {directory} has no part "
            f"{missing[0]!r}, only {', '.join(facts['parts'])}.",
            rank=comm.rank,
        )
    for name, part in parts.items():
        _unwrap(part).load_state_dict(from_arrays(facts["parts"][name], arrays))
    return Saved(facts["step"], facts["meta"])


def _unwrap(part: Any) -> Any:
    # Names without "module.", so that a module that is not wrapped can load them.
    return part.module if isinstance(part, DistributedDataParallel) else part
