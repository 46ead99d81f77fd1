"""Which files of a folder are checkpoints, of which step, and which of them may go.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"step-(\d{8,})(-[0-9a-f]{16}\.safetensors|\.json)")


def checkpoint_files(folder: Path) -> list[tuple[int, Path]]:
    """Return our files and the steps they belong to; anything else in the folder is not ours."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return [(int(match[1]), path) for match, path in found if match]


def prune(folder: Path, step: int, tensors: Path, keep: int) -> None:
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
