"""A network that tells classes apart, as a scikit-learn estimator.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from course_lib.arrays import Array
from course_lib.estimators.base import FLOATS, NetworkEstimator, whole_or_not_at_all


class MLPClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    r"""A multi-layer perceptron that tells classes apart, with scikit-learn's interface.

    .. math:: p = \mathrm{softmax}(f(\dots f(x W_0 + b_0) \dots) W_L + b_L), \qquad
              L(\theta) = -\frac{1}{N} \sum_i \log p_{i y_i}

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        The number of units in each hidden layer; empty for none.
    activation : str or Activation
        After each hidden layer, see :mod:`course_lib.activations`.
    optimizer : {"adam", "adamw", "sgd", "nesterov", "rmsprop", "adagrad"} or Optimizer
        How to step.
    learning_rate : float or callable
        Of an optimizer given by name: a number, or a schedule; an object has its own.
    batch_size, epochs : int
        Rows per step, and passes over the data (at most, with early stopping).
    weights : str or callable
        The initialiser, see :mod:`course_lib.weights`.
    dropout : float
        The probability of dropping a hidden unit while training.
    early_stopping : bool
        Hold out some rows, stop when the loss on them has stopped falling, and keep the parameters
        and the optimizer's state of the best epoch.
    validation_fraction : float
        Share of the rows that early stopping holds out, of each class alike.
    patience, min_delta : int, float
        See :class:`~course_lib.early_stopping.EarlyStopping`.
    random_state : int, RandomState or None
        Decides the initial parameters, the order of rows, dropout's noise and what is held out. An
        integer is the `seed` of :func:`~course_lib.training.fit`; None is another one each time.
    n_jobs : int, optional
        In how many worker processes `fit` trains (-1: one per core): the same result up to
        rounding. Without it, in this process.
    client : Client or str, optional
        The Dask cluster whose workers take the place of these processes, all of them if `n_jobs`
        is not given; or its address. A clone shares a client; a pickle remembers its address.

    Attributes
    ----------
    classes_ : array, shape (k,)
        The labels, sorted.
    network_, theta_ : Network, array of shape (n_params,)
        What was trained, and its parameters.
    coefs_, intercepts_ : lists of arrays
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer.
    n_iter_ : int
        The number of epochs.
    history_ : dict of lists
        As of :func:`~course_lib.training.fit`; ``loss_curve_`` is its "loss".
    n_features_in_, feature_names_in_
        The number of columns, and their names if they had any.

    Raises
    ------
    ValueError, TypeError
        By `fit`, if a setting or the data is not what it should be.
    FloatingPointError
        By `fit`, if the training diverges.

    References
    ----------
    Buitinck et al. 2013, API design for machine learning software (scikit-learn).

    Examples
    --------
    >>> from course_lib import MLPClassifier
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model = MLPClassifier(8, "tanh", learning_rate=0.1, random_state=0)
    >>> model.fit(x, ["same", "other", "other", "same"]).predict(x)
    array(['same', 'other', 'other', 'same'], dtype='<U5')
    >>> [w.shape for w in model.coefs_], model.n_iter_
    ([(2, 8), (8, 2)], 100)
    """

    _loss = "softmax_cross_entropy"

    @whole_or_not_at_all
    def fit(self, X: Any, y: Any) -> MLPClassifier:
        """Train from the beginning on X, shape (n, features), and labels y, shape (n,)."""
        X, y = self._check(X, y, reset=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._begin(X.shape[1], len(self.classes_), X.dtype)
        self._train(X, labels)
        return self

    @whole_or_not_at_all
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> MLPClassifier:
        """Go on for one epoch over these rows, in this process.

        Parameters
        ----------
        X : array, shape (n, features)
            Some rows, or all: k calls with all rows are the `fit` of k epochs.
        y : array, shape (n,)
            Their labels.
        classes : array, shape (k,)
            All labels that will ever come; needed by the first call.

        Raises
        ------
        ValueError
            If the first call has no classes, a later one others, or a label is none of them.
        """
        self._refuse_early_stopping()
        first = not hasattr(self, "network_")
        X, y = self._check(X, y, reset=first)
        if first and classes is None:
            raise ValueError(
                "partial_fit: the first call needs classes=, all labels that may come."
            )
        known = self.classes_ if classes is None else np.unique(classes)
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"partial_fit: classes were {self.classes_} in the first call, got {known}."
            )
        if not (among := np.isin(y, known)).all():
            raise ValueError(
                f"partial_fit: y has labels that are not in classes: {np.unique(y[~among])}."
            )
        if first:
            self.classes_ = known
            self._begin(X.shape[1], len(known), X.dtype)
        self._train_an_epoch(X, np.searchsorted(known, y))
        return self

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        labels: Array = self.classes_[self.network_.predict(self.theta_, X)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, shape (n, k), in the order of ``classes_``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return self.network_.predict_proba(self.theta_, X)

    def _check(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, dtype=FLOATS, reset=reset)
        check_classification_targets(y)
        return X, column_or_1d(y, warn=True)
