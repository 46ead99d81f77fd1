"""The tests can fail: classic bugs, put into a copy of the package one by one, are all found.

Most of them were seen in real libraries or in the source article. To read the list is a good
exercise: which test catches it, and why?
"""

# ruff: noqa: E501

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Mutant(NamedTuple):
    """One bug: in `file`, `right` is replaced by `wrong`; the test in tests/core must notice."""

    bug: str
    file: str
    right: str
    wrong: str
    test: str


MUTANTS = [
    # The faults of the source article.
    Mutant("the ReLU derivative is left out", "layers.py", "        dz *= dy\n", "        dz = dy\n",
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("bias gradient summed over units too", "layers.py",
           'dy.sum(axis=0, out=out["b"])', 'out["b"][:] = dy.sum()',
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("sum over the batch instead of mean", "network.py", "        dy /= denominator\n", "",
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("uniform start, all positive", "weights.py",
           "rng.uniform(-limit, limit", "rng.uniform(0, limit",
           "weights::test_mean_is_zero_and_variance_is_the_formula"),
    # Gradients.
    Mutant("loss and gradient scaled differently", "losses.py", "out *= 2 / k", "out *= 2",
           "losses::test_gradient_is_the_slope_of_the_sum"),
    Mutant("mean over outputs forgotten in the loss", "losses.py",
           "total = float(np.vdot(out, out)) / k", "total = float(np.vdot(out, out))",
           "losses::test_sum_over_rows_is_n_times_the_reference_mean"),
    Mutant("half a square", "losses.py", "out *= 2 / k", "out /= k",
           "losses::test_gradient_is_the_slope_of_the_sum"),
    Mutant("softmax shifted by the maximum of the batch", "losses.py",
           "outputs.max(axis=1, keepdims=True)", "outputs.max()",
           "losses::test_rows_do_not_interact_even_at_extreme_logits"),
    Mutant("softmax without a shift", "activations.py",
           "np.subtract(z, np.max(z, axis=-1, keepdims=True), out=out)", "np.positive(z, out=out)",
           "activations::test_softmax_survives_scores_whose_exponential_does_not_exist"),
    Mutant("p instead of p - onehot", "losses.py", "    out[rows, targets] -= 1\n", "",
           "losses::test_gradient_is_the_slope_of_the_sum"),
    Mutant("targets broadcast against a column", "losses.py",
           "return targets.reshape(outputs.shape)", "return targets",
           "losses::test_sum_over_rows_is_n_times_the_reference_mean"),
    Mutant("hinge without its margin", "losses.py",
           "margin = 1 + outputs[rows, rival]", "margin = outputs[rows, rival]",
           "losses::test_sum_over_rows_is_n_times_the_reference_mean"),
    Mutant("huber's gradient not clipped", "losses.py",
           "np.clip(error, -DELTA, DELTA, out=out)", "np.positive(error, out=out)",
           "losses::test_sum_over_rows_is_n_times_the_reference_mean"),
    Mutant("sigmoid' = s instead of s (1 - s)", "activations.py",
           "np.multiply(a, 1 - a, out=out)", "np.positive(a, out=out)",
           "activations::test_value_and_derivative_equal_torch"),
    Mutant("tanh' from z instead of a", "activations.py",
           "np.multiply(a, a, out=out)", "np.multiply(z, z, out=out)",
           "activations::test_value_and_derivative_equal_torch"),
    Mutant("naive softplus overflows", "activations.py",
           "np.add(np.maximum(z, 0), np.log1p(np.exp(-np.abs(z))), out=out)",
           "np.log1p(np.exp(z), out=out)",
           "activations::test_value_and_derivative_equal_torch"),
    Mutant("elu's derivative without exp", "activations.py",
           "return np.exp(np.minimum(z, 0), out=out)", "return np.greater(z, 0, out=np.empty_like(z))",
           "activations::test_value_and_derivative_equal_torch"),
    Mutant("gelu' without its second term", "activations.py",
           "np.add(_normal_cdf(z), z * density, out=out)", "np.positive(_normal_cdf(z), out=out)",
           "activations::test_value_and_derivative_equal_torch"),
    Mutant("input gradient with W, not W transposed", "layers.py",
           'np.matmul(dy, p["W"].T, out=empty(cache.shape, dy.dtype))',
           'np.matmul(dy, np.resize(p["W"], p["W"].T.shape), out=empty(cache.shape, dy.dtype))',
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("backward pass stops one layer early", "chain.py", "if i == stop:", "if i == stop + 1:",
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("dropout not scaled up", "layers.py", "        mask /= 1 - self.rate\n", "",
           "network::test_dropout_keeps_the_mean_and_is_off_without_noise"),
    Mutant("dropout on while predicting", "layers.py", "if rng is None:", "if False:",
           "network::test_dropout_keeps_the_mean_and_is_off_without_noise"),
    Mutant("bias not added", "layers.py", '        z += p["b"]\n', "",
           "network::test_gradient_is_the_derivative_for_every_activation_and_loss"),
    Mutant("denominator ignored for a piece of a batch", "network.py",
           "denominator = len(x) if denominator is None else denominator", "denominator = max(len(x), 1)",
           "network::test_the_loss_is_a_mean_and_pieces_of_a_batch_add_up"),
    Mutant("stale views in the workspace", "workspace.py", "self._views.get(id(theta))",
           "next(iter(self._views.values()), None)",
           "network::test_a_workspace_changes_no_bit_and_allocates_no_result"),
    # Optimizers and the loop.
    Mutant("uphill", "optimizers.py", "        theta -= lr * g\n", "        theta += lr * g\n",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("momentum without memory", "optimizers.py", "            v *= self.momentum\n", "            v *= 0\n",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("Nesterov looks ahead twice", "optimizers.py",
           "lr * (g + self.momentum * v)", "lr * (v + self.momentum * v)",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("Adam without bias correction", "optimizers.py", "lr / (1 - self.beta1**t)", "lr",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("Adam's epsilon before the correction", "optimizers.py",
           "        scale /= math.sqrt(1 - self.beta2**t)\n        scale += self.eps\n",
           "        scale += self.eps\n        scale /= math.sqrt(1 - self.beta2**t)\n",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("AdamW's decay not scaled by lr", "optimizers.py",
           "1 - lr * self.weight_decay", "1 - self.weight_decay",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("RMSProp that never forgets", "optimizers.py", "        s *= self.decay\n", "",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("weight decay doubled", "optimizers.py", "g = g + self.weight_decay * theta",
           "g = g + 2 * self.weight_decay * theta",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("only the first block is updated", "optimizers.py",
           "range(0, theta.size, BLOCK)", "range(0, min(theta.size, BLOCK), BLOCK)",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("a NumPy step count makes float32 float64", "optimizers.py",
           't = state["t"] + 1', 't = np.float64(state["t"] + 1)',
           "optimizers::test_float32_stays_float32"),
    Mutant("step changes what came in", "optimizers.py", "            theta = theta.copy()\n", "            pass\n",
           "optimizers::test_step_is_pure_unless_out_is_given"),
    Mutant("schedule one step late", "optimizers.py", "self.learning_rate(t - 1)", "self.learning_rate(t)",
           "optimizers::test_schedule_is_asked_with_the_number_of_steps_taken"),
    Mutant("He variance 1 / fan_in", "weights.py", "2 / fan_in", "1 / fan_in",
           "weights::test_mean_is_zero_and_variance_is_the_formula"),
    Mutant("the same order every epoch", "data.py", "[seed, epoch]", "[seed, 0]",
           "data::test_batches_depend_on_seed_and_epoch_and_on_nothing_else"),
    Mutant("epoch loss not weighted by batch size", "training.py", "total += loss * len(rows)",
           "total += loss * batch_size",
           "training::test_fit_is_the_loop_written_by_hand"),
    Mutant("early stopping one epoch late", "early_stopping.py", ">= self.patience", "> self.patience",
           "training::test_early_stopping_ends_the_training_and_decides_from_the_history_alone"),
    Mutant("accuracy falls to stop", "early_stopping.py",
           'sign = -1.0 if metric.endswith("accuracy") else 1.0', "sign = 1.0",
           "training::test_early_stopping_ends_the_training_and_decides_from_the_history_alone"),
]  # fmt: skip


def run(folder: Path, tests: list[str], mutant: Mutant | None = None) -> tuple[int, str]:
    """Run tests, as they are in tests/core, on a copy of the package with one bug in it."""
    shutil.copytree(
        ROOT / "course_lib", folder / "course_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    files = {f"test_{test.partition('::')[0]}.py" for test in tests}
    for file in files:
        shutil.copy(ROOT / "tests" / "core" / file, folder)
    if mutant is not None:
        changed = folder / "course_lib" / mutant.file
        source = changed.read_text(encoding="utf-8")
        assert mutant.right in source, f"{mutant.file} no longer contains {mutant.right!r}"
        changed.write_text(source.replace(mutant.right, mutant.wrong), encoding="utf-8")
    names = ["test_{}.py::{}".format(*test.split("::")) for test in tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider",
         "-W", "error", f"--rootdir={folder}", "-c", os.devnull, *names],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout[-2000:] + done.stderr[-2000:]


def test_without_a_bug_all_of_these_tests_pass(tmp_path: Path) -> None:
    code, said = run(tmp_path, sorted({mutant.test for mutant in MUTANTS}))
    assert code == 0, said


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.bug for m in MUTANTS])
def test_every_bug_is_found_by_the_test_that_is_to_find_it(tmp_path: Path, mutant: Mutant) -> None:
    code, said = run(tmp_path, [mutant.test], mutant)
    # 1: tests ran and some failed. Anything else (2: the copy does not even import) proves nothing.
    assert code == 1, f"survived: {mutant.bug}\n{said}"
