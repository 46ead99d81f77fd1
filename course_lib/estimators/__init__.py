"""Our networks as scikit-learn estimators: for pipelines, cross-validation and grid search.

They follow scikit-learn's rules, and pass its own check of them, with the words of this course:
`epochs` for its `max_iter`, `optimizer` for its `solver`. What they compute is
:func:`course_lib.training.fit` or, on several workers, :func:`course_lib.parallel.train`.
:class:`~course_lib.estimators.classifier.MLPClassifier` and
:class:`~course_lib.estimators.regressor.MLPRegressor` are names of `course_lib` too; the first use
loads scikit-learn.

Chapter: a network in NumPy.
"""

from __future__ import annotations

from course_lib.needs import require

require("sklearn", extra="data", who="course_lib.estimators")

from course_lib.estimators.classifier import MLPClassifier
from course_lib.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
