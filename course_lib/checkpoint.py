"""A checkpoint is either whole or not there: what a killed run is resumed from.

Two files per checkpoint: the arrays (safetensors, no pickle: loading one never runs code) and a
manifest in JSON that names them, with the SHA-256 sum of the first. The manifest is written last,
so arrays without one are an interrupted save and do not count. It carries a sum of its own, which
shows any change to it. One process writes, any number may read; use one directory per run.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from course_lib.arrays import Array, check_integer
from course_lib.atomic import write_bytes

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

VERSION = 1
"""The version of the format; one that reads differently gets the next number."""

_NAME = re.compile(r"step-(\d{8,})(-[0-9a-f]{16}\.safetensors|\.json)")


class Checkpoint(NamedTuple):
    """What was saved: the step, the arrays by name (yours to change), and the other facts."""

    step: int
    arrays: dict[str, Array]
    meta: dict[str, Any]


class CheckpointError(RuntimeError):
    """A checkpoint is missing, incomplete or damaged; the message says which and how."""


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
    text = _manifest_text(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(tensors, raw)
    path = folder / f"step-{step:08d}.json"
    write_bytes(path, text)
    _prune(folder, step, tensors, keep)
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
    """
    path = Path(path)
    manifest = _read_manifest(path)
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
    """
    folder = Path(directory)
    for step in sorted({step for step, _ in checkpoint_files(folder)}, reverse=True):
        try:
            return load(folder / f"step-{step:08d}.json")
        except CheckpointError as error:
            warnings.warn(f"skipping step {step}: {error}", RuntimeWarning, stacklevel=2)
    return None


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Take a state apart: its arrays, named ``state.<key>``, and the rest, which JSON can say.

    Examples
    --------
    >>> split_state({"t": 3, "m": np.zeros(2)})
    ({'state.m': array([0., 0.])}, {'t': 3})
    """
    arrays = {f"state.{k}": v for k, v in state.items() if isinstance(v, np.ndarray)}
    return arrays, {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}


def join_state(arrays: Mapping[str, Array], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Put a state together again from what :func:`split_state` gave; ignore other arrays.

    Examples
    --------
    >>> join_state({"theta": np.ones(2), "state.m": np.zeros(2)}, {"t": 3})
    {'t': 3, 'm': array([0., 0.])}
    """
    own = {k.removeprefix("state."): v for k, v in arrays.items() if k.startswith("state.")}
    return {**numbers, **own}


def checkpoint_files(folder: Path) -> list[tuple[int, Path]]:
    """Return our files and the steps they belong to; anything else in the folder is not ours.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     path = save(run, step=7, arrays={"theta": np.zeros(2)})
    ...     [step for step, _ in checkpoint_files(Path(run))]
    [7, 7]
    """
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return [(int(match[1]), path) for match, path in found if match]


def _prune(folder: Path, step: int, tensors: Path, keep: int) -> None:
    """Delete all but the newest checkpoints, and what interrupted saves left behind."""
    files = checkpoint_files(folder)
    kept = {step, *sorted(s for s, path in files if path.suffix == ".json")[-keep:]}
    # Manifests (.json sorts first) go before arrays: else a crash would leave a broken pair.
    for s, path in sorted(files, key=lambda file: file[1].suffix):
        replaced = s == step and path.suffix == tensors.suffix and path != tensors
        if replaced or s not in kept:
            path.unlink(missing_ok=True)
    for path in folder.glob(".step-*"):
        path.unlink(missing_ok=True)


def _manifest_text(facts: Mapping[str, Any]) -> bytes:
    """Write down the facts, the version of the format and their SHA-256 sum."""
    manifest = {"format": "course_lib checkpoint", "version": VERSION, **facts}
    try:
        # There and back first: number keys become strings, and those are sorted differently.
        manifest = json.loads(json.dumps(manifest))
        return json.dumps({**manifest, "manifest_sha256": _sum(manifest)}, indent=2).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(
            "save: meta must hold only what JSON can say (numbers, strings, booleans, None, "
            f"lists, dicts with string keys): {error}."
        ) from error


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts that :func:`_manifest_text` wrote, or say why not."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        whole = manifest.pop("manifest_sha256") == _sum(manifest)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; save writes it last.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not the manifest of a checkpoint ({error}).") from error
    if not whole:
        raise CheckpointError(f"{path} was changed or damaged: its own SHA-256 sum differs.")
    if manifest["version"] != VERSION:
        raise CheckpointError(
            f"{path} has format version {manifest['version']}, this program reads {VERSION}; "
            "load it with the version of course_lib that wrote it."
        )
    return manifest


def _sum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _plain(name: str, array: Array) -> Array:
    known = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
    if not known or array.dtype.itemsize > 8:  # the format has no long double
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"save: arrays[{name!r}] must be a NumPy array of numbers, got {kind}; other things "
            "belong in meta."
        )
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
