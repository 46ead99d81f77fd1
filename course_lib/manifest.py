"""The manifest of a checkpoint: what it says, under which name, and why it cannot be trusted.

It carries a SHA-256 sum of its own and that of the file with the arrays, which lies beside it: a
manifest never leads to another folder.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1
"""The version of the format; one that reads differently gets the next number."""

_FORMAT = "course_lib checkpoint"

# The fields of a manifest.
_FIELDS = {
    "format": str, "version": int, "step": int, "file": str, "sha256": str, "arrays": dict,
    "meta": dict,
}  # fmt: skip


class CheckpointError(RuntimeError):
    """A checkpoint is missing, incomplete, damaged or cannot be written; the message says which."""


def manifest_name(step: int) -> str:
    """Return the name of the manifest of a step."""
    return f"step-{step:08d}.json"


def tensors_name(step: int, digest: str) -> str:
    """Return the name of the file with the arrays of a step, whose SHA-256 sum is `digest`."""
    return f"step-{step:08d}-{digest[:16]}.safetensors"


def manifest_text(facts: Mapping[str, Any]) -> bytes:
    """Write down the facts, the version of the format and their SHA-256 sum."""
    manifest = {"format": _FORMAT, "version": VERSION, **facts}
    try:
        # There and back first: number keys become strings, and those are sorted differently.
        manifest = json.loads(json.dumps(manifest))
        return json.dumps({**manifest, "manifest_sha256": _sum(manifest)}, indent=2).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            "save: meta must hold only what JSON can say (numbers, strings, booleans, None, "
            f"lists, dicts with string keys): {error}."
        ) from error


def read_file(path: Path, missing: str) -> bytes:
    """Return what an ordinary file holds: a pipe would make us wait, a link lead elsewhere."""
    try:
        ordinary, content = stat.S_ISREG(path.lstat().st_mode), b""
        if ordinary:
            content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(missing) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error
    if not ordinary:
        raise CheckpointError(f"{path} is not an ordinary file, as save writes it.")
    return content


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts that :func:`manifest_text` wrote, or say why not."""
    content = read_file(path, missing=f"{path} does not exist; save writes it last.")
    try:
        manifest: dict[str, Any] = json.loads(content)
        whole = manifest.pop("manifest_sha256") == _sum(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not the manifest of a checkpoint ({error}).") from error
    if not whole:
        raise CheckpointError(f"{path} was changed or damaged: its own SHA-256 sum differs.")
    if type(manifest.get("version")) is int and manifest["version"] != VERSION:
        raise CheckpointError(
            f"{path} has format version {manifest['version']}, this program reads {VERSION}; "
            "load it with the version of course_lib that wrote it."
        )
    for name, kind in _FIELDS.items():
        if type(manifest.get(name)) is not kind:
            raise CheckpointError(
                f"{path} is not the manifest of a checkpoint ({name} must be of type "
                f"{kind.__name__})."
            )
    step, digest = manifest["step"], manifest["sha256"]
    if path.name != manifest_name(step):
        raise CheckpointError(
            f"{path} is the manifest of step {step}, whose name is {manifest_name(step)}; it was "
            "renamed, or put in place of another."
        )
    known = manifest["format"] == _FORMAT and step >= 0 and re.fullmatch("[0-9a-f]{64}", digest)
    if not known or manifest["file"] != tensors_name(step, digest):
        raise CheckpointError(
            f"{path} is not the manifest of a checkpoint (its format, step, file and sha256 do not "
            "belong together)."
        )
    return manifest


def _sum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
