"""A checkpoint is either whole or not there: what a killed run is resumed from.

Two files per checkpoint: the arrays (safetensors, no pickle: loading one never runs code) and a
manifest in JSON that names them, with the SHA-256 sum of the first. The manifest is written last,
so arrays without one are an interrupted save and do not count. It carries a sum of its own, which
shows any change to it. One process writes, any number may read; use one directory per run. If an
earlier process, which was believed dead, wakes up in the middle of a save, it finds that its step
has been saved, and leaves what it finds.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import numpy as safetensors

from course_lib.arrays import Array, check_integer
from course_lib.atomic import write_bytes
from course_lib.manifest import (
    CheckpointError,
    manifest_name,
    manifest_text,
    read_file,
    read_manifest,
    tensors_name,
)
from course_lib.paths import check_path

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "join_state",
    "latest_valid",
    "load",
    "prepare",
    "save",
    "split_state",
]

StrPath = str | os.PathLike[str]

_NAME = re.compile(r"step-([0-9]{8}|[1-9][0-9]{8,})(-[0-9a-f]{16}\.safetensors|\.json)")

# What a write that was interrupted leaves of such a file.
_PARTIAL = re.compile(r"\.step-([0-9]{8,})[-.].*")


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
        Arrays of real numbers or booleans, of any shape.
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
    CheckpointError
        If the folder cannot be written to, or the disk is full; what was saved before is as it was.

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
    folder = check_path(directory, where="save", name="directory")
    _check_mapping(arrays, where="save", name="arrays")
    plain = {name: _plain(name, array) for name, array in arrays.items()}
    raw = safetensors.save(plain)
    digest = hashlib.sha256(raw).hexdigest()
    # The name holds the sum, so that saving a step again never touches the arrays it replaces.
    tensors, path = folder / tensors_name(step, digest), folder / manifest_name(step)
    _check_mapping({} if meta is None else meta, where="save", name="meta")
    manifest: dict[str, Any] = {
        "step": step,
        "file": tensors.name,
        "sha256": digest,
        "arrays": _forms(plain),
        "meta": dict(meta or {}),
    }
    text = manifest_text(manifest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Who saves this step at the same time is another attempt at the same training: the first
        # of both stays, and nothing that came since is touched.
        before = {found for s, found in checkpoint_files(folder) if s == step}
        write_bytes(tensors, raw)
        try:
            write_bytes(path, text, replace=path in before)
        except FileExistsError:
            return path
        _prune(folder, step, keep, before - {tensors, path})
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder} "
            f"({error.strerror or error}). What was saved before is as it was: make room, or let "
            "this program write there, and go on from the newest checkpoint."
        ) from error
    return path


def prepare(directory: StrPath) -> None:
    """Make a folder for checkpoints and try to write to it: better now than at the first save.

    Parameters
    ----------
    directory : path
        The folder, as for :func:`save`.

    Raises
    ------
    CheckpointError
        If nothing can be written there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare(f"{folder}/run")
    ...     print(os.listdir(folder), os.listdir(f"{folder}/run"))
    ['run'] []
    """
    folder = check_path(directory, where="prepare", name="directory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"whole")
    except OSError as error:
        raise CheckpointError(
            f"no checkpoint could be written to {folder} ({error.strerror or error}). Give another "
            "folder, or let this program write there."
        ) from error


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
        If a file is missing, or not exactly what was written under this name; or is a link: what
        a checkpoint holds lies in its own folder.
    """
    path = check_path(path, where="load", name="path")
    manifest = read_manifest(path)
    tensors = path.parent / manifest["file"]
    raw = read_file(tensors, missing=f"{tensors} is missing, but {path.name} names it.")
    if hashlib.sha256(raw).hexdigest() != manifest["sha256"]:
        raise CheckpointError(f"{tensors} was changed or damaged: its SHA-256 sum differs.")
    try:
        arrays = safetensors.load(raw)
    except Exception as error:  # whatever a file can hold that was not written by save
        raise CheckpointError(
            f"{tensors} is not a safetensors file ({type(error).__name__}: {error})."
        ) from error
    if _forms(arrays) != manifest["arrays"]:
        raise CheckpointError(f"{tensors} does not hold the arrays that {path.name} lists.")
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

    Raises
    ------
    CheckpointError
        If there is something else in place of the folder, or it cannot be read.

    Warns
    -----
    RuntimeWarning
        For each newer checkpoint that is incomplete or damaged.
    """
    folder = check_path(directory, where="latest_valid", name="directory")
    found, skipped = _newest(folder)
    for text in skipped:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return found


def _newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole, and a sentence for each one passed over."""
    while True:
        files, skipped = checkpoint_files(folder), list[str]()
        for step in sorted({step for step, _ in files}, reverse=True):
            try:
                return load(folder / manifest_name(step)), skipped
            except CheckpointError as error:
                if set(checkpoint_files(folder)) != set(files):
                    break  # somebody is saving: look again
                skipped.append(f"skipping step {step}: {error}")
        else:
            return None, skipped


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Take a state apart: its arrays, named ``state.<key>``, and the rest, which JSON can say.

    Examples
    --------
    >>> split_state({"t": 3, "m": np.zeros(2)})
    ({'state.m': array([0., 0.])}, {'t': 3})
    """
    _check_mapping(state, where="split_state", name="state")
    arrays = {f"state.{k}": v for k, v in state.items() if isinstance(v, np.ndarray)}
    return arrays, {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}


def join_state(arrays: Mapping[str, Array], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Put a state together again from what :func:`split_state` gave; ignore other arrays.

    Examples
    --------
    >>> join_state({"theta": np.ones(2), "state.m": np.zeros(2)}, {"t": 3})
    {'t': 3, 'm': array([0., 0.])}
    """
    _check_mapping(arrays, where="join_state", name="arrays")
    _check_mapping(numbers, where="join_state", name="numbers")
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
    return [(s, path) for s, path in _left_behind(folder) if _NAME.fullmatch(path.name)]


def _left_behind(folder: Path) -> list[tuple[int, Path]]:
    """Return our files, also those of which only a part was written."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read as a folder of checkpoints ({error.strerror})."
        ) from error
    found = ((_NAME.fullmatch(name) or _PARTIAL.fullmatch(name), name) for name in names)
    return [(int(match[1]), folder / name) for match, name in found if match]


def _prune(folder: Path, step: int, keep: int, replaced: set[Path]) -> None:
    """Delete all but the newest checkpoints, and what interrupted saves left behind.

    Nothing newer: if another process saves later steps, it is the one to be believed.
    """
    files = _left_behind(folder)
    whole = sorted(s for s, path in files if path.suffix == ".json")
    kept = {step, *whole[-keep:]}
    doomed = {path for s, path in files if s < step and s not in kept}
    doomed |= {path for s, path in files if s < step and path.name.startswith(".")}
    # Manifests (.json sorts first) go before arrays: else a crash would leave a broken pair.
    for path in sorted(doomed | replaced, key=lambda path: path.suffix):
        with suppress(OSError):  # what cannot be deleted does no harm
            path.unlink()


def _forms(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {n: {"shape": list(a.shape), "dtype": str(a.dtype)} for n, a in arrays.items()}


def _check_mapping(value: object, *, where: str, name: str) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}: {name} must be a dict, got {type(value).__name__}.")
    for key in value:
        if name != "meta" and not isinstance(key, str):
            raise TypeError(f"{where}: the keys of {name} must be strings, got {key!r}.")


def _plain(name: str, array: Array) -> Array:
    known = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
    if not known or isinstance(array, np.ma.MaskedArray) or array.dtype.itemsize > 8:
        # The format has no long double, and no masks.
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"save: arrays[{name!r}] must be a NumPy array of numbers, got {kind}; other "
            "things belong in meta."
        )
    if name == "__metadata__" or not name.isprintable():
        raise ValueError(
            f"save: no array can be called {name!r}: the format reserves '__metadata__', and what "
            "cannot be printed is no name."
        )
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
