"""Checkpoints of a module, its optimizer and whatever else has a ``state_dict``, on many ranks.

Rank 0 writes; rank 0 reads, and sends what it read to the others, whose machines need not have
the folder.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import numpy as safetensors
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from course_lib import checkpoint
from course_lib.arrays import Array
from course_lib.parallel.clock import stored_within
from course_lib.parallel.collectives import all_gather_object, broadcast, broadcast_object
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
        if isinstance(value, np.ndarray):
            arrays[path] = value.copy()
            return {"array": path}
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
            f"save: {path} is a {type(value).__name__}; only tensors, arrays, numbers, strings, "
            "None, and dicts and lists of them can be saved without pickle."
        )

    return walk(part, value), arrays


def from_arrays(skeleton: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo :func:`to_arrays`."""
    if not isinstance(skeleton, Mapping):
        return skeleton
    if "tensor" in skeleton:
        return torch.from_numpy(arrays[skeleton["tensor"]]).view(getattr(torch, skeleton["dtype"]))
    if "array" in skeleton:
        return arrays[skeleton["array"]]
    if "dict" in skeleton:
        return {key: from_arrays(value, arrays) for key, value in skeleton["dict"]}
    if "tuple" in skeleton:
        return tuple(from_arrays(value, arrays) for value in skeleton["tuple"])
    return [from_arrays(value, arrays) for value in skeleton["list"]]


class Saved(NamedTuple):
    """What a checkpoint held besides the parts.

    Attributes
    ----------
    step : int
        The steps taken.
    meta : dict
        The facts given to save.
    own : object
        What this rank gave as its own; None if it gave nothing.

    Examples
    --------
    >>> Saved(3, {"epoch": 1})
    Saved(step=3, meta={'epoch': 1}, own=None)
    """

    step: int
    meta: dict[str, Any]
    own: Any = None


def save_parts(
    comm: Comm, directory: checkpoint.StrPath, parts: Mapping[str, Any], own: Any, *, step: int,
    meta: Mapping[str, Any] | None, keep: int,
) -> str:  # fmt: skip
    """Write the parts' state dictionaries on rank 0; return the path of the manifest.

    Only what ranks have of their own travels.
    """
    skeletons: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    if comm.rank == 0:
        for name, part in parts.items():
            skeletons[name], found = to_arrays(name, _unwrap(part).state_dict())
            arrays |= found
    kept: list[Any] = []
    if own is not None:
        kept, found = _gathered(comm, "own", own)
        arrays |= found
    if comm.rank != 0:
        return ""
    kinds = {name: type(_unwrap(part)).__name__ for name, part in parts.items()}
    facts = {"parts": skeletons, "kinds": kinds, "own": kept, "meta": dict(meta or {})}
    path = stored_within(
        comm.timeout, f"writing a checkpoint to {directory}",
        lambda: checkpoint.save(directory, step=step, arrays=arrays, meta=facts, keep=keep),
    )  # fmt: skip
    return str(path)


def _gathered(comm: Comm, name: str, own: Any) -> tuple[list[Any], dict[str, Array]]:
    """Return, by rank, the skeletons of what ranks have; on rank 0 the arrays in them, too."""
    skeleton, arrays = to_arrays(f"{name}.{comm.rank}", own)
    skeletons = all_gather_object(comm, skeleton)
    if comm.rank != 0:
        comm.send(0, name, _packed(arrays))
        return skeletons, {}
    for source in range(1, comm.size):
        arrays |= _unpacked(comm.recv(source, name))
    return skeletons, arrays


def gathered(comm: Comm, name: str, own: Any) -> list[Any]:
    """Return on rank 0, by rank, what each rank has; elsewhere nothing. All ranks must call it.

    Examples
    --------
    >>> from course_lib.parallel.comm import run_threads
    >>> run_threads(2, lambda comm: gathered(comm, "a", torch.tensor(comm.rank)))
    [[tensor(0), tensor(1)], []]
    """
    skeletons, arrays = _gathered(comm, name, own)
    return [from_arrays(skeleton, arrays) for skeleton in skeletons] if comm.rank == 0 else []


def load_parts(
    comm: Comm, directory: checkpoint.StrPath, parts: Mapping[str, Any],
    check: Callable[[Saved], None] | None = None, *, begin: str | None = None, newest: bool = True,
) -> Saved | None:  # fmt: skip
    """Give the parts the state of the newest checkpoint that is whole, the same on every rank.

    If there is none, or `newest` is False, the one of the manifest `begin` is taken, if any.
    Before the parts are given anything, `check` is shown what was found.
    """
    facts, raw, found = None, np.zeros(0, np.uint8), None

    def read() -> checkpoint.Checkpoint | None:
        there = checkpoint.latest_valid(directory) if newest else None
        return checkpoint.load(begin) if there is None and begin is not None else there

    if comm.rank == 0:
        found = stored_within(comm.timeout, f"reading {directory}", read)
    if found is not None:
        raw = _packed(found.arrays)
        facts = {"step": found.step, "bytes": len(raw), **found.meta}
    facts = broadcast_object(comm, facts)
    if facts is None:
        return None
    if comm.rank != 0:
        raw = np.zeros(facts["bytes"], np.uint8)
    arrays = _unpacked(broadcast(comm, raw))
    kept, problem = facts.get("own", []), ""
    if check is not None:
        check(Saved(facts["step"], facts.get("meta", {})))
    if missing := sorted(set(parts) - set(facts.get("parts", ()))):
        problem = f"has no part {missing[0]!r}, only {', '.join(facts.get('parts', ()))}."
    elif kept and len(kept) != comm.size:
        problem = (
            f"was written by {len(kept)} ranks and holds something for each; go on with as many, "
            f"not with {comm.size}."
        )
    if problem:
        raise _mismatch(comm, directory, facts["step"], problem)
    own = from_arrays(kept[comm.rank], arrays) if kept else None
    saved = Saved(facts["step"], facts["meta"], own)
    for name, part in parts.items():
        then, now = facts.get("kinds", {}).get(name), type(_unwrap(part)).__name__
        # An optimizer takes the state of any other, and then fails in its next step.
        if isinstance(part, torch.optim.Optimizer) and then not in (None, now):
            raise _mismatch(
                comm, directory, saved.step, f"has {then} as {name!r}, and here it is {now}."
            )
        try:
            _unwrap(part).load_state_dict(from_arrays(facts["parts"][name], arrays))
        except (RuntimeError, ValueError, KeyError) as error:
            text = f"has a state of another {name!r} ({error})."
            raise _mismatch(comm, directory, saved.step, text) from error
    return saved


def _mismatch(
    comm: Comm, directory: checkpoint.StrPath, step: int, problem: str
) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"load: the checkpoint of step {step} in {directory} {problem}", rank=comm.rank, step=step
    )


def _packed(arrays: Mapping[str, Array]) -> Array:
    return np.frombuffer(safetensors.save(dict(arrays)), np.uint8).copy()


def _unpacked(raw: Array) -> dict[str, Array]:
    return {name: array.copy() for name, array in safetensors.load(raw.tobytes()).items()}


def _unwrap(part: Any) -> Any:
    # Names without "module.", so that a module that is not wrapped can load them.
    return part.module if isinstance(part, DistributedDataParallel) else part
