"""A network that tells classes apart, as a scikit-learn estimator.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from course_lib import losses
from course_lib.arrays import Array, as_array, shown
from course_lib.estimators.base import NetworkEstimator
from course_lib.estimators.doors import FLOATS, check_dense, weights_of, whole_or_not_at_all


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
        How to step. Of an object, the options can be set one by one and searched through, as
        ``optimizer__lr``.
    learning_rate : float or callable
        Of an optimizer given by name: a number, or a schedule; an object has its own.
    batch_size, epochs : int
        Rows per step, and passes over the data (at most, with early stopping).
    weights : str or callable
        The initialiser, see :mod:`course_lib.weights`.
    dropout : float
        The probability of dropping a hidden unit while training.
    loss : str or Loss, optional
        What is made small: for a classifier "softmax_cross_entropy", for a regressor "mse", "mae"
        or "huber", see :mod:`course_lib.losses`; or a :class:`~course_lib.losses.Loss` of your own
        for labels or for numbers. None is the first of these.
    shuffle : bool
        Give each epoch an order of its own; False: the rows as they come, in each. What early
        stopping holds out is drawn in any case.
    early_stopping : bool
        Hold out some rows, stop when the loss on them has stopped falling, and keep the parameters
        and the optimizer's state of the best epoch.
    validation_fraction : float
        Share of the rows that early stopping holds out, of each class alike.
    patience, min_delta : int, float
        See :class:`~course_lib.early_stopping.EarlyStopping`.
    tol : float, optional
        Stop when the training loss has not fallen by `tol` below the least before, for more than
        `n_iter_no_change` epochs in a row, see :class:`~course_lib.estimators.runs.Settled`; warn
        if the epochs are over before. None trains for all epochs, and warns never.
    n_iter_no_change : int
        See `tol`.
    warm_start : bool
        Let another `fit` go on from the parameters, the optimizer's state and the number of epochs
        that the last one left: with the same rows, a fit of 3 epochs and one of 2 are the fit of 5.
        It trains in this process only. What stops it looks at its own epochs only.
    verbose : bool or int
        Print the losses of each epoch.
    random_state : int, RandomState or None
        Decides the initial parameters, the order of rows, dropout's noise and what is held out. An
        integer is the `seed` of :func:`~course_lib.training.fit`; None is another one each time.
    n_jobs : int, optional
        In how many worker processes `fit` trains (-1: one per core): the same result up to
        rounding. Without it, and inside of a process that is itself one of several (of
        ``cross_val_score(n_jobs=...)``, say), in this process.
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

    Warns
    -----
    ConvergenceWarning
        By `fit`, if `tol` is given and the loss still falls when the epochs are over.

    Notes
    -----
    The names of scikit-learn's ``MLPClassifier`` and ``MLPRegressor``, and ours:

    ==============================================  ==============================================
    scikit-learn                                    here
    ==============================================  ==============================================
    `max_iter`                                      `epochs`
    `solver`                                        `optimizer`; "lbfgs" is not there
    `learning_rate_init`                            `learning_rate`
    `learning_rate` ("adaptive", ...), `power_t`    a schedule as `learning_rate`
    `momentum`, `beta_1`, `epsilon`, ...            options of an optimizer that is an object
    `alpha`                                         its `weight_decay`
    `tol`, `n_iter_no_change`                       the same, but `tol` is None by default; with
                                                    `early_stopping`, `min_delta` and `patience`
    `early_stopping`                                the same, by the loss, not by the score
    `warm_start`                                    the same, but the optimizer's state goes on too
    `verbose`, `random_state`, `shuffle`            the same
    `batch_size` "auto"                             not there: a number
    `loss` of the regressor                         `loss`; "mse" is the squared error without 1/2;
                                                    "poisson" is not there
    `max_fun`                                       not there, as "lbfgs"
    `sample_weight` of `fit`                        the same; rows held out count alike
    `class_weight`                                  not there, and not in scikit-learn's: pass
                                                    ``compute_sample_weight("balanced", y)``
    sparse X                                        not there: dense arrays
    several labels per row (multilabel)             not there; several numbers per row are
    `n_iter_`                                       the same, but of all that went on, added up
    `loss_`, `best_loss_`, `validation_scores_`     ``history_``
    `t_`, `n_layers_`, `n_outputs_`                 ``optimizer_state_``, ``network_``
    `out_activation_`                               softmax, or none
    ==============================================  ==============================================

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

    _loss = losses.softmax_cross_entropy
    classes_: Array

    @whole_or_not_at_all
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:
        """Train on X, shape (n, features), and labels y, shape (n,); see `warm_start`.

        `sample_weight`, shape (n,), says how much each row counts, see `weights` of
        :func:`~course_lib.training.fit`; rows that early stopping holds out count alike.
        """
        on = self._goes_on()
        X, y = self._check(X, y, where="fit", reset=not on)
        weights = weights_of(sample_weight, len(X), where="fit")
        classes, labels = np.unique(y, return_inverse=True)
        if on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"fit: warm_start=True goes on with the classes of the last fit, {self.classes_}, "
                f"got {classes}."
            )
        self.classes_ = classes
        self._begin(X.shape[1], len(classes), X.dtype, on=on)
        self._train(X, labels, weights)
        return self

    @whole_or_not_at_all
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> MLPClassifier:
        """Go on for one epoch over these rows, in this process.

        Parameters
        ----------
        X : array, shape (n, features)
            Some rows, or all: k calls with all rows are the `fit` of k epochs.
        y : array, shape (n,)
            Their labels.
        classes : array, shape (k,)
            All labels that will ever come; needed by the first call.
        sample_weight : array, shape (n,), optional
            How much each row counts.

        Raises
        ------
        ValueError
            If the first call has no classes, a later one others, or a label is none of them.
        """
        self._refuse_early_stopping()
        first = not hasattr(self, "network_")
        X, y = self._check(X, y, where="partial_fit", reset=first)
        weights = weights_of(sample_weight, len(X), where="partial_fit")
        if first and classes is None:
            raise ValueError(
                "partial_fit: the first call needs classes=, all labels that may come, got None."
            )
        known = self.classes_ if classes is None else _distinct(classes)
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"partial_fit: classes were {self.classes_} in the first call, got {known}."
            )
        if not (among := np.isin(y, known)).all():
            raise ValueError(
                f"partial_fit: y has labels that are not in classes, got {np.unique(y[~among])}."
            )
        if first:
            self.classes_ = known
            self._begin(X.shape[1], len(known), X.dtype)
        self._train_an_epoch(X, np.searchsorted(known, y), weights)
        return self

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each row, shape (n,)."""
        X = self._read(X, "predict")
        labels: Array = self.classes_[self.network_.predict(self.theta_, X)]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, shape (n, k), in the order of ``classes_``."""
        X = self._read(X, "predict_proba")
        return self.network_.predict_proba(self.theta_, X)

    def predict_log_proba(self, X: Any) -> Array:
        r"""Return the logarithm of the probability of each class, shape (n, k).

        .. math:: \log p_{ij} = z_{ij} - \log \sum_k e^{z_{ik}}

        It is finite where the probability itself would be rounded to 0.

        Examples
        --------
        >>> model = MLPClassifier((), epochs=1, random_state=0).fit([[-1.0], [1.0]], [0, 1])
        >>> model.predict_proba([[1e4]]).min() == 0, model.predict_log_proba([[1e4]]).min() < -1e3
        (np.True_, np.True_)
        """
        X = self._read(X, "predict_log_proba")
        z = self.network_.forward(self.theta_, X)[0]
        z -= z.max(axis=1, keepdims=True)  # nothing overflows, and the sum is at least 1
        z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
        return z

    def _check(self, X: Any, y: Any, *, where: str, reset: bool) -> tuple[Array, Array]:
        check_dense(X, where=where)
        if (columns := _columns(y)) > 1:
            raise ValueError(
                f"{where}: y must have one label per row, shape (n,), got {columns} columns; "
                "several labels per row (multilabel, multioutput) are not known here: train one "
                "model for each, as sklearn.multioutput.MultiOutputClassifier does."
            )
        X, y = validate_data(self, X, y, dtype=FLOATS, reset=reset)
        check_classification_targets(y)
        return X, column_or_1d(y, warn=True)


def _columns(y: Any) -> int:
    try:
        shape = np.shape(y)
    except (TypeError, ValueError):  # rows of several lengths, say, which are refused later
        return 1
    return shape[1] if len(shape) == 2 else 1


def _distinct(classes: Any) -> Array:
    array = as_array(classes, where="partial_fit", name="classes")
    try:
        if array.ndim == 1 and array.size > 0:
            return np.unique(array)
    except TypeError:  # labels that cannot be sorted
        pass
    raise ValueError(f"partial_fit: classes must be a list of labels, got {shown(classes)}.")
