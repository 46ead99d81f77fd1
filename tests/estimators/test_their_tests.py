"""For each test that scikit-learn has of its networks: our test of the same, or what is not there.

Their file is not copied; its tests are known by their names. The table in the docstring of
MLPClassifier says of each word that is not there what takes its place.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import sklearn
from sklearn import neural_network

from course_lib import MLPClassifier

HERE = Path(__file__).parent
CORE = HERE.parent / "core" / "test_network.py"
VERSION = "1.9"
"""Of scikit-learn, whose tests these are; another version may have others."""

TESTED = {
    "test_fit": "test_it_computes_what_fit_computes_to_the_bit",
    "test_gradient": "test_gradient_is_the_derivative_for_every_activation_and_loss",
    "test_learning_rate_warmstart":
        "test_a_warm_fit_goes_on_with_parameters_state_and_order_of_rows",
    "test_multioutput_regression": "test_a_regressor_answers_in_the_shape_of_its_targets",
    "test_partial_fit_classes_error": "test_partial_fit_says_what_it_lacks",
    "test_partial_fit_classification": "test_k_partial_fits_are_a_fit_of_k_epochs_to_the_bit",
    "test_partial_fit_unseen_classes": "test_partial_fit_learns_from_batches_that_lack_a_class",
    "test_partial_fit_regression": "test_k_partial_fits_are_a_fit_of_k_epochs_to_the_bit",
    "test_partial_fit_errors": "test_partial_fit_says_what_it_lacks",
    "test_nonfinite_params": "test_a_training_that_diverges_says_so",
    "test_predict_proba_binary":
        "test_log_probabilities_are_the_logarithms_and_finite_where_those_are_not",
    "test_predict_proba_multiclass":
        "test_log_probabilities_are_the_logarithms_and_finite_where_those_are_not",
    "test_tolerance": "test_a_fit_with_tol_is_the_fit_of_the_epochs_it_took",
    "test_verbose_sgd": "test_verbose_prints_the_losses_of_each_epoch_and_changes_nothing",
    "test_early_stopping": "test_early_stopping_returns_the_best_epoch_of_a_run_that_went_on",
    "test_warm_start": "test_a_warm_fit_refuses_what_the_last_one_did_not_have",
    "test_warm_start_full_iteration":
        "test_a_warm_fit_goes_on_with_parameters_state_and_order_of_rows",
    "test_n_iter_no_change": "test_it_stops_where_scikit_learn_stops_on_the_same_losses",
    "test_early_stopping_stratified": "test_what_is_held_out_has_each_class_in_proportion",
    "test_mlp_early_stopping_string_labels":
        "test_early_stopping_returns_the_best_epoch_of_a_run_that_went_on",
    "test_mlp_classifier_dtypes_casting": "test_single_precision_is_kept_and_finds_nearly_the_same",
    "test_mlp_regressor_dtypes_casting": "test_single_precision_is_kept_and_finds_nearly_the_same",
    "test_mlp_param_dtypes": "test_single_precision_is_kept_and_finds_nearly_the_same",
    "test_mlp_loading_from_joblib_partial_fit": "test_a_pickle_predicts_and_goes_on_the_same",
    "test_preserve_feature_names": "test_scikit_learns_checks",
    "test_mlp_warm_start_with_early_stopping":
        "test_a_warm_fit_goes_on_from_partial_fit_and_stops_early_by_its_own_epochs",
    "test_mlp_warm_start_no_convergence":
        "test_each_warm_fit_has_all_its_epochs_and_warns_for_itself",
    "test_mlp_partial_fit_after_fit": "test_partial_fit_says_what_it_lacks",
    "test_mlp_diverging_loss": "test_a_fit_that_fails_leaves_the_model_as_it_was",
    "test_mlp_sample_weight_with_early_stopping":
        "test_a_fit_with_weights_and_early_stopping_holds_out_rows_that_count_alike",
    "test_shuffle": "test_rows_as_they_come_are_those_of_a_fit_that_does_not_shuffle",
    "test_minimum_input_sample_size": "test_a_fit_that_fails_leaves_the_model_as_it_was",
}  # fmt: skip
"""Ours, which tests the same property; where the answer differs, ours is the one of this package:
a training that diverges is an error here, also with early stopping."""

NOT_THERE = {
    "test_alpha": ("alpha", "an option of the optimizer, tested with the optimizers"),
    "test_lbfgs_classification": ("lbfgs", "there is no such optimizer"),
    "test_lbfgs_regression": ("lbfgs", "there is no such optimizer"),
    "test_lbfgs_classification_maxfun": ("max_fun", "there is no such optimizer"),
    "test_lbfgs_regression_maxfun": ("max_fun", "there is no such optimizer"),
    "test_multilabel_classification": ("multilabel", "refused by name"),
    "test_predict_proba_multilabel": ("multilabel", "refused by name"),
    "test_sparse_matrices": ("sparse X", "refused by name"),
    "test_adaptive_learning_rate": ("adaptive", "a schedule knows the step, not the loss"),
    "test_n_iter_no_change_inf": ("n_iter_no_change", "tol=None says it"),
    "test_mlp_vs_poisson_glm_equivalent": ("poisson", "there is no such loss"),
}
"""The word of the table, and why."""


def test_each_of_their_tests_is_one_of_ours_or_is_said_not_to_be_there() -> None:
    file = Path(neural_network.__file__).parent / "tests" / "test_mlp.py"
    if not (sklearn.__version__.startswith(VERSION + ".") and file.exists()):
        pytest.skip(f"the list is of the tests of scikit-learn {VERSION}")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    theirs = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert theirs == TESTED.keys() | NOT_THERE.keys()
    assert not TESTED.keys() & NOT_THERE.keys()


def test_our_tests_are_there_and_the_table_has_the_words() -> None:
    files = [*HERE.glob("test_*.py"), CORE]
    ours = {n for f in files for n in re.findall(r"^def (\w+)\(", f.read_text("utf-8"), re.M)}
    assert set(TESTED.values()) - ours == set()
    table = str(MLPClassifier.__doc__).split("Notes\n")[1].split("References\n")[0]
    assert [word for word, _ in NOT_THERE.values() if word not in table] == []
