"""An optimizer's state as arrays and plain numbers, the way a checkpoint holds them.

Chapter: failures and checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from course_lib.arrays import Array


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
