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

ROOT = Path(__file__).parent.parent


class Mutant(NamedTuple):
    """One bug: in `file`, `right` is replaced by `wrong`; `tests` must notice."""

    bug: str
    file: str
    right: str
    wrong: str
    tests: str


MUTANTS = [
    # The faults of the source article.
    Mutant("the ReLU derivative is left out", "layers.py", "        dz *= dy\n", "        dz = dy\n", "network"),
    Mutant("bias gradient summed over units too", "layers.py",
           'dy.sum(axis=0, out=out["b"])', 'out["b"][:] = dy.sum()', "network"),
    Mutant("sum over the batch instead of mean", "network.py", "        dy /= denominator\n", "", "network"),
    Mutant("uniform start, all positive", "weights.py",
           "rng.uniform(-limit, limit", "rng.uniform(0, limit", "weights"),
    # Gradients.
    Mutant("loss and gradient scaled differently", "losses.py", "out *= 2 / k", "out *= 2", "losses"),
    Mutant("mean over outputs forgotten in the loss", "losses.py",
           "total = float(np.vdot(out, out)) / k", "total = float(np.vdot(out, out))", "losses"),
    Mutant("half a square", "losses.py", "out *= 2 / k", "out /= k", "losses"),
    Mutant("softmax shifted by the maximum of the batch", "losses.py",
           "outputs.max(axis=1, keepdims=True)", "outputs.max()", "losses"),
    Mutant("softmax without a shift", "activations.py",
           "np.subtract(z, np.max(z, axis=-1, keepdims=True), out=out)", "np.positive(z, out=out)", "activations"),
    Mutant("p instead of p - onehot", "losses.py", "    out[rows, targets] -= 1\n", "", "losses"),
    Mutant("targets broadcast against a column", "losses.py",
           "return targets.reshape(outputs.shape)", "return targets", "losses"),
    Mutant("hinge without its margin", "losses.py",
           "margin = 1 + outputs[rows, rival]", "margin = outputs[rows, rival]", "losses"),
    Mutant("huber's gradient not clipped", "losses.py",
           "np.clip(error, -DELTA, DELTA, out=out)", "np.positive(error, out=out)", "losses"),
    Mutant("sigmoid' = s instead of s (1 - s)", "activations.py",
           "np.multiply(a, 1 - a, out=out)", "np.positive(a, out=out)", "activations"),
    Mutant("tanh' from z instead of a", "activations.py",
           "np.multiply(a, a, out=out)", "np.multiply(z, z, out=out)", "activations"),
    Mutant("naive softplus overflows", "activations.py",
           "np.add(np.maximum(z, 0), np.log1p(np.exp(-np.abs(z))), out=out)",
           "np.log1p(np.exp(z), out=out)", "activations"),
    Mutant("elu's derivative without exp", "activations.py",
           "return np.exp(np.minimum(z, 0), out=out)", "return np.greater(z, 0, out=np.empty_like(z))", "activations"),
    Mutant("gelu' without its second term", "activations.py",
           "np.add(_normal_cdf(z), z * density, out=out)", "np.positive(_normal_cdf(z), out=out)", "activations"),
    Mutant("input gradient with W, not W transposed", "layers.py",
           'np.matmul(dy, p["W"].T, out=empty(cache.shape, dy.dtype))',
           'np.matmul(dy, np.resize(p["W"], p["W"].T.shape), out=empty(cache.shape, dy.dtype))', "network"),
    Mutant("backward pass stops one layer early", "chain.py", "if i == stop:", "if i == stop + 1:", "network"),
    Mutant("dropout not scaled up", "layers.py", "        mask /= 1 - self.rate\n", "", "network"),
    Mutant("dropout on while predicting", "layers.py", "if rng is None:", "if False:", "network"),
    Mutant("bias not added", "layers.py", '        z += p["b"]\n', "", "torch_mlp"),
    Mutant("denominator ignored for a piece of a batch", "network.py",
           "denominator = len(x) if denominator is None else denominator", "denominator = max(len(x), 1)", "network"),
    Mutant("stale views in the workspace", "workspace.py", "self._views.get(id(theta))",
           "next(iter(self._views.values()), None)", "network"),
    # Optimizers and the loop.
    Mutant("uphill", "optimizers.py", "        theta -= lr * g\n", "        theta += lr * g\n", "optimizers"),
    Mutant("momentum without memory", "optimizers.py", "            v *= self.momentum\n", "            v *= 0\n", "optimizers"),
    Mutant("Nesterov looks ahead twice", "optimizers.py",
           "lr * (g + self.momentum * v)", "lr * (v + self.momentum * v)", "optimizers"),
    Mutant("Adam without bias correction", "optimizers.py", "lr / (1 - self.beta1**t)", "lr", "optimizers"),
    Mutant("Adam's epsilon before the correction", "optimizers.py",
           "        scale /= math.sqrt(1 - self.beta2**t)\n        scale += self.eps\n",
           "        scale += self.eps\n        scale /= math.sqrt(1 - self.beta2**t)\n", "optimizers"),
    Mutant("AdamW's decay not scaled by lr", "optimizers.py",
           "1 - lr * self.weight_decay", "1 - self.weight_decay", "optimizers"),
    Mutant("RMSProp that never forgets", "optimizers.py", "        s *= self.decay\n", "", "optimizers"),
    Mutant("weight decay doubled", "optimizers.py", "g = g + self.weight_decay * theta",
           "g = g + 2 * self.weight_decay * theta", "optimizers"),
    Mutant("only the first block is updated", "optimizers.py",
           "range(0, theta.size, BLOCK)", "range(0, min(theta.size, BLOCK), BLOCK)", "optimizers"),
    Mutant("a NumPy step count makes float32 float64", "optimizers.py",
           't = state["t"] + 1', 't = np.float64(state["t"] + 1)', "optimizers"),
    Mutant("step changes what came in", "optimizers.py", "            theta = theta.copy()\n", "            pass\n", "optimizers"),
    Mutant("schedule one step late", "optimizers.py", "self.learning_rate(t - 1)", "self.learning_rate(t)", "optimizers"),
    Mutant("He variance 1 / fan_in", "weights.py", "2 / fan_in", "1 / fan_in", "weights"),
    Mutant("the same order every epoch", "data.py", "[seed, epoch]", "[seed, 0]", "data"),
    Mutant("epoch loss not weighted by batch size", "training.py", "total += loss * len(rows)",
           "total += loss * batch_size", "training"),
    Mutant("early stopping one epoch late", "early_stopping.py", ">= self.patience", "> self.patience", "training"),
    Mutant("accuracy falls to stop", "early_stopping.py",
           'sign = -1.0 if metric.endswith("accuracy") else 1.0', "sign = 1.0", "training"),
]  # fmt: skip


def run_tests(folder: Path, mutant: Mutant | None, tests: str) -> subprocess.CompletedProcess[str]:
    """Run one test file on a copy of the package with one bug in it."""
    shutil.copytree(
        ROOT / "course_lib", folder / "course_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "tests" / f"test_{tests}.py", folder)
    if mutant is not None:
        file = folder / "course_lib" / mutant.file
        source = file.read_text(encoding="utf-8")
        assert source.count(mutant.right) >= 1, f"{mutant.file} no longer contains {mutant.right!r}"
        file.write_text(source.replace(mutant.right, mutant.wrong), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider",
         "-W", "error", f"--rootdir={folder}", "-c", os.devnull, f"test_{tests}.py"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("tests", sorted({m.tests for m in MUTANTS}))
def test_without_a_bug_the_copy_passes(tmp_path: Path, tests: str) -> None:
    result = run_tests(tmp_path, None, tests)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.bug for m in MUTANTS])
def test_every_bug_is_found(tmp_path: Path, mutant: Mutant) -> None:
    result = run_tests(tmp_path, mutant, mutant.tests)
    # 1: tests ran and some failed. Anything else (2: the copy does not even import) proves nothing.
    assert result.returncode == 1, f"survived: {mutant.bug}\n{result.stdout[-2000:]}"
