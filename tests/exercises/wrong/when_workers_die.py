"""Typical wrong answers to the exercises of the chapter on failures."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

Files = dict[str, bytes]


def _steps(files: Files) -> list[int]:
    return sorted(int(n[5:-4]) for n in files if n.endswith(".bin"))


def _whole(files: Files, step: Any) -> bool:
    data, written = files[f"step-{step}.bin"], files[f"step-{step}.sum"]
    return hashlib.sha256(data).hexdigest().encode() == written


def _only_newest(files: Files) -> int:
    step = _steps(files)[-1]
    return step if _whole(files, step) else -1


def _as_text(files: Files) -> int:
    names = sorted((n for n in files if n.startswith("step") and n.endswith(".bin")), reverse=True)
    for name in names:
        if name[:-4] + ".sum" in files and _whole(files, name[5:-4]):
            return int(name[5:-4])
    return -1


def _crashes(files: Files) -> int:
    return next((s for s in reversed(_steps(files)) if _whole(files, s)), -1)


def _none_left(files: Files) -> int:
    there = [s for s in _steps(files) if f"step-{s}.sum" in files]
    return next(s for s in reversed(there) if _whole(files, s))


def _in_place(disk: Any, name: str, content: bytes) -> None:
    disk.write(name, content)
    disk.flush(name)


def _no_flush(disk: Any, name: str, content: bytes) -> None:
    disk.write(name + ".new", content)
    disk.rename(name + ".new", name)


def _flush_late(disk: Any, name: str, content: bytes) -> None:
    _no_flush(disk, name, content)
    disk.flush(name)


def _delete_first(disk: Any, name: str, content: bytes) -> None:
    disk.write(name + ".new", content)
    disk.flush(name + ".new")
    disk.delete(name)
    disk.rename(name + ".new", name)


def _beside_only(disk: Any, name: str, content: bytes) -> None:
    disk.write(name + ".new", content)
    disk.flush(name + ".new")


WRONG = {
    "when_workers_die.interval": {
        "one-machine": lambda c, n, h: np.sqrt(2 * c * 3600 * h),
        "machines-multiplied": lambda c, n, h: np.sqrt(2 * c * 3600 * h * n),
        "hours-as-seconds": lambda c, n, h: np.sqrt(2 * c * h / n),
        "two-forgotten": lambda c, n, h: np.sqrt(c * 3600 * h / n),
        "root-forgotten": lambda c, n, h: 2 * c * 3600 * h / n,
    },
    "when_workers_die.snapshot": {
        "theta-shared": lambda theta, state, epoch, step: {
            "theta": theta, "state": {k: np.copy(v) for k, v in state.items()},
            "epoch": epoch, "step": step,
        },
        "state-shared": lambda theta, state, epoch, step: {
            "theta": theta.copy(), "state": state, "epoch": epoch, "step": step,
        },
        "shallow-copy": lambda theta, state, epoch, step: {
            "theta": theta.copy(), "state": dict(state), "epoch": epoch, "step": step,
        },
        "state-forgotten": lambda theta, state, epoch, step: {
            "theta": theta.copy(), "epoch": epoch, "step": step,
        },
        "step-forgotten": lambda theta, state, epoch, step: {
            "theta": theta.copy(), "state": {k: np.copy(v) for k, v in state.items()},
            "epoch": epoch,
        },
        "state-incomplete": lambda theta, state, epoch, step: {
            "theta": theta.copy(), "epoch": epoch, "step": step,
            "state": {k: v.copy() for k, v in state.items() if isinstance(v, np.ndarray)},
        },
    },
    "when_workers_die.newest": {
        "only-the-newest": _only_newest,
        "sum-not-checked": lambda files: _steps(files)[-1],
        "sorted-as-text": _as_text,
        "interrupted-save": _crashes,
        "nothing-left": _none_left,
    },
    "when_workers_die.atomic": {
        "written-in-place": _in_place,
        "not-flushed": _flush_late,
        "nothing-there": _delete_first,
        "not-saved": _beside_only,
    },
}  # fmt: skip
