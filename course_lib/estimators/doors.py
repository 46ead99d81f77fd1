"""What holds for every method of an estimator: what it lets in, and what is left if it fails.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import Any, TypeVar, cast

import numpy as np
from scipy.sparse import issparse  # type: ignore[import-untyped]

from course_lib.arrays import Array, check_row_numbers

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


def weights_of(sample_weight: Any, rows: int, *, where: str) -> Array | None:
    """Return how much each row counts, None for all alike; a single number is that of each row.

    Examples
    --------
    >>> weights_of(2, 3, where="fit"), weights_of(None, 3, where="fit")
    (array([2., 2., 2.]), None)
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(rows, sample_weight)
    return check_row_numbers(sample_weight, rows, where=where, name="sample_weight")
