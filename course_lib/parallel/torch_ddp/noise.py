"""Noise that a seed decides: dropout, augmentation and whatever else draws from global generators.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_noise(*key: int) -> None:
    """Seed the global generators of PyTorch, NumPy and Python; other keys give other noise.

    Of PyTorch's, those of the processor and of the GPUs in use. ``torch.manual_seed`` writes a
    traceback for every kind of device that is not there; at a seed for each row and step that
    takes more time than the row.

    The worker processes of a DataLoader take their seeds from PyTorch's generator.

    Examples
    --------
    >>> with own_noise(torch.device("cpu")):
    ...     seed_noise(3, 1)
    ...     first = np.random.random(), random.random(), torch.rand(()).item()
    ...     seed_noise(3, 1)
    ...     first == (np.random.random(), random.random(), torch.rand(()).item())
    True
    """
    a, b, c = np.random.SeedSequence(key).generate_state(3).tolist()
    torch.default_generator.manual_seed(a)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(a)
    np.random.seed(b)
    random.seed(c)


@contextmanager
def own_noise(device: torch.device) -> Iterator[None]:
    """Let no other thread draw from this rank's noise; give the generators back as they were."""
    before, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            with _only_this_thread():
                yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)


@contextmanager
def _only_this_thread() -> Iterator[None]:
    """Let other threads draw from a generator of their own by ``random.random()`` and the like.

    Dask draws from Python's global one now and then, in another thread, to guess sizes.
    """
    rank, others = threading.get_ident(), random.Random()
    replaced = {}
    for name in random.__all__:
        function = getattr(random, name)
        if isinstance(getattr(function, "__self__", None), random.Random):
            replaced[name] = function
            setattr(random, name, _by_thread(rank, function, getattr(others, name)))
    try:
        yield
    finally:
        for name, function in replaced.items():
            setattr(random, name, function)


def _by_thread(
    rank: int, function: Callable[..., Any], other: Callable[..., Any]
) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        return (function if threading.get_ident() == rank else other)(*args, **kwargs)

    draw.__name__ = draw.__qualname__ = function.__name__
    draw.__module__ = "random"  # where pickle finds it
    return draw
