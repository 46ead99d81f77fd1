"""What holds for every method of an estimator: what it lets in, and what is left if it fails.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from scipy.sparse import issparse  # type: ignore[import-untyped]

from course_lib.arrays import shown

FLOATS = (np.float64, np.float32)
"""What data is computed in as it comes; any other becomes the first."""

Method = TypeVar("Method", bound=Callable[..., Any])


def whole_or_not_at_all(method: Method) -> Method:
    """Let a method that raises or is interrupted leave its object, and its model, as they were."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, run)


def all_rows_alike(method: Method) -> Method:
    """Let a method that trains refuse weights of rows by a sentence."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "sample_weight" in kwargs:
            raise TypeError(
                f"{method.__name__}: sample_weight is not known here, all rows count alike; repeat "
                f"the rows that count more, got {shown(kwargs['sample_weight'])}."
            )
        return method(self, *args, **kwargs)

    return cast(Method, run)


def check_dense(x: Any, *, where: str) -> None:
    """Raise if `x` is a sparse matrix.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> check_dense(csr_array((3, 3)), where="predict")
    Traceback (most recent call last):
    ...
    TypeError: predict: X must be a dense array, got a sparse one of shape (3, 3); use X.toarray().
    """
    if issparse(x):
        raise TypeError(
            f"{where}: X must be a dense array, got a sparse one of shape {x.shape}; use "
            "X.toarray()."
        )
