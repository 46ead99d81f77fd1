"""State dictionaries of modules and optimizers as named arrays: checkpoints without pickle.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.arrays import Array

# NumPy has no such numbers; their bits are kept, and the type's name.
_AS_BITS = {
    torch.bfloat16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e5m2: torch.uint8,
}


def to_arrays(part: str, value: Any) -> tuple[Any, dict[str, Array]]:
    """Take a ``state_dict()`` apart: a skeleton that JSON can say, and its tensors as arrays.

    Parameters
    ----------
    part : str
        The beginning of the arrays' names.
    value : object
        A ``state_dict()``.

    Returns
    -------
    skeleton : object
        The tree with the names of arrays in place of tensors.
    arrays : dict of str to array

    Raises
    ------
    TypeError
        If there is something in it that can not be saved.

    Examples
    --------
    >>> to_arrays("optimizer", {"state": {0: {"step": torch.tensor(2.0)}}, "lr": 0.1})[1]
    {'optimizer.state.0.step': array(2., dtype=float32)}

    Notes
    -----
    Chapter: PyTorch DDP on Dask.
    """
    arrays: dict[str, Array] = {}

    def walk(path: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous()
            kind = str(tensor.dtype).removeprefix("torch.")
            # A copy: training goes on in place.
            arrays[path] = tensor.view(_AS_BITS.get(tensor.dtype, tensor.dtype)).numpy().copy()
            return {"tensor": path, "dtype": kind}
        if isinstance(value, Mapping):
            # Pairs, because keys may be whole numbers, which JSON does not have.
            return {"dict": [[key, walk(f"{path}.{key}", v)] for key, v in value.items()]}
        if isinstance(value, list | tuple):
            name = "tuple" if isinstance(value, tuple) else "list"
            return {name: [walk(f"{path}.{i}", v) for i, v in enumerate(value)]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(
            f"save: {path} is a {type(value).__name__}; only tensors, numbers, strings, None, and "
            "dicts and lists of them can be saved without pickle."
        )

    return walk(part, value), arrays


def from_arrays(skeleton: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo :func:`to_arrays`.

    Examples
    --------
    >>> from_arrays(*to_arrays("model", {"w": torch.ones(2), "n": (1, None)}))
    {'w': tensor([1., 1.]), 'n': (1, None)}
    """
    if not isinstance(skeleton, Mapping):
        return skeleton
    if "tensor" in skeleton:
        return torch.from_numpy(arrays[skeleton["tensor"]]).view(getattr(torch, skeleton["dtype"]))
    if "dict" in skeleton:
        return {key: from_arrays(value, arrays) for key, value in skeleton["dict"]}
    if "tuple" in skeleton:
        return tuple(from_arrays(value, arrays) for value in skeleton["tuple"])
    return [from_arrays(value, arrays) for value in skeleton["list"]]
