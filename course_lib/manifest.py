"""The manifest of a checkpoint: what was saved, in JSON, with a sum that shows any change to it.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = 1
"""The version of the format; one that reads differently gets the next number."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, incomplete or damaged; the message says which and how."""


def manifest_text(facts: Mapping[str, Any]) -> bytes:
    """Write down the facts, the version of the format and their SHA-256 sum.

    Raises
    ------
    TypeError
        If a fact is not something that JSON can say.

    Examples
    --------
    >>> sorted(json.loads(manifest_text({"step": 3})))
    ['format', 'manifest_sha256', 'step', 'version']
    """
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


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the facts that :func:`manifest_text` wrote down.

    Raises
    ------
    CheckpointError
        If the file is missing, is something else, was changed, or has another version.
    """
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
