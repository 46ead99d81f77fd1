"""Checkpoints of a module, its optimizer and whatever else has a ``state_dict``, on many ranks.

Rank 0 writes; rank 0 reads, and sends what it read to the others, whose machines need not have
the folder.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from safetensors import numpy as safetensors
from torch.nn.parallel import DistributedDataParallel

from course_lib import checkpoint
from course_lib.arrays import Array
from course_lib.parallel.collectives import broadcast
from course_lib.parallel.comm import Comm
from course_lib.parallel.errors import CheckpointMismatch
from course_lib.parallel.torch_ddp_state import from_arrays, to_arrays


class Saved(NamedTuple):
    """What a checkpoint held besides the parts: the steps taken, and the facts given to save."""

    step: int
    meta: dict[str, Any]


def save_parts(
    directory: checkpoint.StrPath,
    parts: Mapping[str, Any],
    *,
    step: int,
    meta: Mapping[str, Any] | None,
    keep: int,
) -> str:
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
    head, raw = b"", b""
    if comm.rank == 0 and (found := checkpoint.latest_valid(directory)) is not None:
        head = json.dumps({"step": found.step, **found.meta}).encode()
        raw = safetensors.save(found.arrays)
    head = _from_rank_0(comm, head)
    if not head:
        return None
    facts = json.loads(head)
    arrays = {name: a.copy() for name, a in safetensors.load(_from_rank_0(comm, raw)).items()}
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


def _from_rank_0(comm: Comm, data: bytes) -> bytes:
    length = broadcast(comm, np.array([len(data)]))
    array = np.zeros(int(length[0]), np.uint8)
    if comm.rank == 0:
        array[:] = np.frombuffer(data, np.uint8)
    return broadcast(comm, array).tobytes()
