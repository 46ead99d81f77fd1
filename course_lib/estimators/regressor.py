"""A network that predicts numbers, as a scikit-learn estimator.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from typing import Any

from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from course_lib import losses
from course_lib.arrays import Array
from course_lib.estimators.base import NetworkEstimator
from course_lib.estimators.doors import FLOATS, check_dense, weights_of, whole_or_not_at_all


class MLPRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    r"""A multi-layer perceptron that predicts numbers, with scikit-learn's interface.

    .. math:: \hat y = f(\dots f(x W_0 + b_0) \dots) W_L + b_L, \qquad
              L(\theta) = \frac{1}{N k} \sum_{i,j} (\hat y_{ij} - y_{ij})^2

    Targets far from the range of -1 to 1 are learnt slowly: scale them, for example with
    ``sklearn.compose.TransformedTargetRegressor``.

    Parameters, attributes (except ``classes_``), errors and what scikit-learn calls them are those
    of :class:`MLPClassifier`;
    `validation_fraction` is a share of all rows.

    References
    ----------
    Buitinck et al. 2013, API design for machine learning software (scikit-learn).

    Examples
    --------
    >>> import numpy as np
    >>> from course_lib import MLPRegressor
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> model = MLPRegressor((), learning_rate=0.1, random_state=0).fit(x, 3 * x[:, 0] + 1)
    >>> model.predict([[0.0], [1.0]]).round(3)
    array([1., 4.])
    """

    _loss = losses.mse

    @whole_or_not_at_all
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on X, shape (n, features), and y, shape (n,) or (n, k); see `warm_start`.

        `sample_weight`, shape (n,), says how much each row counts, see `weights` of
        :func:`~course_lib.training.fit`; rows that early stopping holds out count alike.
        """
        on = self._goes_on()
        X, y = self._check(X, y, where="fit", reset=not on)
        weights = weights_of(sample_weight, len(X), where="fit")
        self._start(X, y, on=on)
        self._train(X, y, weights)
        return self

    @whole_or_not_at_all
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Go on for one epoch over these rows, in this process: k calls are a `fit` of k epochs.

        `sample_weight` as for `fit`.

        Raises
        ------
        ValueError
            If a later call has another number of outputs; (n,) and (n, 1) are the same.
        """
        self._refuse_early_stopping()
        first = not hasattr(self, "network_")
        X, y = self._check(X, y, where="partial_fit", reset=first)
        weights = weights_of(sample_weight, len(X), where="partial_fit")
        if first:
            self._start(X, y)
        self._train_an_epoch(X, y, weights)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted numbers, of shape (n,) or (n, k) as y had in training."""
        X = self._read(X, "predict")
        outputs = self.network_.predict(self.theta_, X)
        return outputs[:, 0] if self._vector else outputs

    def _check(self, X: Any, y: Any, *, where: str, reset: bool) -> tuple[Array, Array]:
        check_dense(X, where=where)
        X, y = validate_data(
            self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True, reset=reset
        )
        return X, y.astype(X.dtype, copy=False)

    def _start(self, X: Array, y: Array, *, on: bool = False) -> None:
        self._begin(X.shape[1], 1 if y.ndim == 1 else y.shape[1], X.dtype, on=on)
        self._vector = y.ndim == 1  # as `predict` will answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
