"""A checkpoint is either whole or not there: what a killed run is resumed from.

Two files per checkpoint: the arrays (safetensors, no pickle: loading one never runs code) and a
manifest in JSON that names them, with the SHA-256 sum of the first. The manifest is written last,
so arrays without one are an interrupted save and do not count. One process writes, any number may
read; use one directory per run.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from course_lib.arrays import Array, check_integer
from course_lib.atomic import write_bytes
from course_lib.checkpoint_folder import checkpoint_files, prune
from course_lib.manifest import CheckpointError, manifest_text, read_manifest
from course_lib.saved_state import join_state, split_state

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "join_state",
    "latest_valid",
    "load",
    "save",
    "split_state",
]

StrPath = str | os.PathLike[str]


class Checkpoint(NamedTuple):
    """What was saved: the step, the arrays by name (yours to change), and the other facts."""

    step: int
    arrays: dict[str, Array]
    meta: dict[str, Any]


def save(
    directory: StrPath,
    *,
    step: int,
    arrays: Mapping[str, Array],
    meta: Mapping[str, Any] | None = None,
    keep: int = 3,
) -> Path:
    """Save arrays and facts as the checkpoint of one step; all of it, or nothing.

    Parameters
    ----------
    directory : path
        The folder of this run; made if needed.
    step : int
        Number of steps taken, from 0. Saving a step again replaces it.
    arrays : dict of str to array
        Arrays of numbers or booleans, of any shape.
    meta : dict, optional
        Anything JSON can say; tuples come back as lists, keys as strings.
    keep : int
        How many checkpoints to leave, at least 1; the older ones are deleted.

    Returns
    -------
    Path
        The manifest, for :func:`load`.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be saved.

    Examples
    --------
    An optimizer's state holds arrays and plain numbers; :func:`split_state` parts them.

    >>> import tempfile
    >>> from course_lib.optimizers import Adam
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = Adam().step(theta, theta, Adam().init(theta))
    >>> vectors, numbers = split_state(state)
    >>> with tempfile.TemporaryDirectory() as run:
    ...     path = save(run, step=1, arrays={"theta": theta, **vectors}, meta={"state": numbers})
    ...     saved = load(path)
    >>> path.name, saved.meta
    ('step-00000001.json', {'state': {'t': 1}})
    >>> np.array_equal(join_state(saved.arrays, saved.meta["state"])["m"], state["m"])
    True

    Notes
    -----
    Chapter: failures and checkpoints.
    """
    step = check_integer(step, where="save", name="step", at_least=0)
    keep = check_integer(keep, where="save", name="keep", at_least=1)
    raw = safetensors.save({name: _plain(name, array) for name, array in arrays.items()})
    digest = hashlib.sha256(raw).hexdigest()
    folder = Path(directory)
    # The name holds the sum, so that saving a step again never touches the arrays it replaces.
    tensors = folder / f"step-{step:08d}-{digest[:16]}.safetensors"
    manifest: dict[str, Any] = {
        "step": step,
        "file": tensors.name,
        "sha256": digest,
        "arrays": {n: {"shape": np.shape(a), "dtype": str(a.dtype)} for n, a in arrays.items()},
        "meta": dict(meta or {}),
    }
    text = manifest_text(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(tensors, raw)
    path = folder / f"step-{step:08d}.json"
    write_bytes(path, text)
    prune(folder, step, tensors, keep)
    return path


def load(path: StrPath) -> Checkpoint:
    """Read a checkpoint back, or say why it cannot be trusted.

    Parameters
    ----------
    path : path
        A manifest, as returned by :func:`save`.

    Returns
    -------
    Checkpoint
        step, arrays and meta as saved, bit by bit.

    Raises
    ------
    CheckpointError
        If a file is missing, or not exactly what was written.

    Notes
    -----
    Chapter: failures and checkpoints.
    """
    path = Path(path)
    manifest = read_manifest(path)
    tensors = path.parent / manifest["file"]
    try:
        raw = tensors.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{tensors} is missing, but {path.name} names it.") from None
    if hashlib.sha256(raw).hexdigest() != manifest["sha256"]:
        raise CheckpointError(f"{tensors} was changed or damaged: its SHA-256 sum differs.")
    try:
        arrays = safetensors.load(raw)
    except SafetensorError as error:
        raise CheckpointError(f"{tensors} is not a safetensors file ({error}).") from error
    # safetensors gives read-only views of the file's bytes; training goes on in place.
    return Checkpoint(
        manifest["step"], {name: array.copy() for name, array in arrays.items()}, manifest["meta"]
    )


def latest_valid(directory: StrPath) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None; warn of each one passed over.

    Parameters
    ----------
    directory : path
        The folder given to :func:`save`; it need not exist.

    Returns
    -------
    Checkpoint or None

    Warns
    -----
    RuntimeWarning
        For each newer checkpoint that is incomplete or damaged.

    Notes
    -----
    Chapter: failures and checkpoints.
    """
    folder = Path(directory)
    for step in sorted({step for step, _ in checkpoint_files(folder)}, reverse=True):
        try:
            return load(folder / f"step-{step:08d}.json")
        except CheckpointError as error:
            warnings.warn(f"skipping step {step}: {error}", RuntimeWarning, stacklevel=2)
    return None


def _plain(name: str, array: Array) -> Array:
    known = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
    if not known or array.dtype.itemsize > 8:  # the format has no long double
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"save: arrays[{name!r}] must be a NumPy array of numbers, got {kind}; other things "
            "belong in meta."
        )
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
