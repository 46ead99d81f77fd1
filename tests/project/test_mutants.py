"""The tests can fail: classic bugs, put into a copy of the package one by one, are all found.

Most of them were seen in real libraries or in the source article. To read the list is a good
exercise: which test catches it, and why?
"""

# ruff: noqa: E501

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.patience import patient

ROOT = Path(__file__).resolve().parents[2]


class Mutant(NamedTuple):
    """One bug: in `file`, `right` is replaced by `wrong`, and `test` must notice.

    The test is in tests/core, unless its path from tests is given.
    """

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
    Mutant("targets broadcast against a column", "row_losses.py",
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
           "        if denominator is None:\n            denominator = len(x)",
           "        if True:\n            denominator = max(len(x), 1)",
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
    Mutant("weight decay doubled", "descent.py", "g = g + self.weight_decay * theta",
           "g = g + 2 * self.weight_decay * theta",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("only the first block is updated", "descent.py",
           "range(0, theta.size, BLOCK)", "range(0, min(theta.size, BLOCK), BLOCK)",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("a NumPy step count makes float32 float64", "descent.py",
           't = int(state["t"]) + 1', 't = np.float64(state["t"] + 1)',
           "optimizers::test_float32_stays_float32"),
    Mutant("step changes what came in", "descent.py", "            theta = theta.copy()\n", "            pass\n",
           "optimizers::test_step_is_pure_unless_out_is_given"),
    Mutant("schedule one step late", "descent.py", "self.learning_rate(t - 1)", "self.learning_rate(t)",
           "optimizers::test_schedule_is_asked_with_the_number_of_steps_taken"),
    Mutant("the first gradient is damped too", "optimizers.py", "if self.dampening and t > 1 else g",
           "if self.dampening else g",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("a centred mean that is not squared", "optimizers.py", "s - m * m", "s - np.abs(m)",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("AMSGrad that forgets", "optimizers.py",
           "np.maximum(s, memory[2], out=memory[2])", "np.maximum(s, 0, out=memory[2])",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("maximize that descends", "descent.py", "            g = -g\n", "            pass\n",
           "optimizers::test_twenty_steps_equal_torch"),
    Mutant("He variance 1 / fan_in", "weights.py", "2 / fan_in", "1 / fan_in",
           "weights::test_mean_is_zero_and_variance_is_the_formula"),
    Mutant("the same order every epoch", "data.py", "[seed, epoch]", "[seed, 0]",
           "data::test_batches_depend_on_seed_and_epoch_and_on_nothing_else"),
    Mutant("epoch loss not weighted by batch size", "training.py",
           "total += loss * batch_weight(rows, weights)", "total += loss * batch_size",
           "training::test_fit_is_the_loop_written_by_hand"),
    Mutant("a weighted step divided by its rows", "network.py",
           "float(weights.sum()) or 1.0", "len(x)",
           "row_weights::test_a_row_of_weight_three_is_three_rows"),
    Mutant("weights in the loss but not in its gradient", "losses.py",
           "gradient *= weights[:, None]", "gradient *= (0 * weights + 1)[:, None]",
           "row_weights::test_the_gradient_is_that_of_the_weighted_mean"),
    Mutant("early stopping one epoch late", "early_stopping.py", ">= self.patience", "> self.patience",
           "training::test_early_stopping_ends_the_training_and_decides_from_the_history_alone"),
    Mutant("accuracy falls to stop", "early_stopping.py",
           'return 1.0 if better == "lower" else -1.0', "return 1.0",
           "training::test_early_stopping_ends_the_training_and_decides_from_the_history_alone"),
    # Sums over ranks.
    Mutant("another shape is taken as it comes", "parallel/collectives/algorithms.py",
           "if other.shape != array.shape or other.dtype != array.dtype:", "if other.dtype != array.dtype:",
           "parallel/collectives/collectives::test_different_shapes_are_refused"),
    Mutant("another dtype is taken as it comes", "parallel/collectives/algorithms.py",
           "if other.shape != array.shape or other.dtype != array.dtype:", "if other.shape != array.shape:",
           "parallel/collectives/collectives::test_different_dtypes_are_refused"),
    Mutant("another dtype in shared memory is read as one's own", "parallel/channels/shared_memory.py",
           "if (n_other, other) != (n, dtype):", "if n_other != n:",
           "parallel/channels/shared_memory::test_different_sizes_and_dtypes_are_refused_on_every_rank"),
    Mutant("the leader of a host is its last rank", "parallel/channels/hierarchical.py",
           "sorted({list(hosts).index(host) for host in hosts})",
           "sorted({len(hosts) - 1 - list(hosts)[::-1].index(host) for host in hosts})",
           "parallel/channels/hierarchical::test_the_sum_is_that_of_the_hosts_sums_on_every_rank"),
    Mutant("a rank that is no leader adds its sum too", "parallel/channels/hierarchical.py",
           'array[...] = complex(-0.0, -0.0) if array.dtype.kind == "c" else -0.0', "pass",
           "parallel/channels/hierarchical::test_the_sum_is_that_of_the_hosts_sums_on_every_rank"),
    Mutant("an array of bytes received is handed on, which cannot be written", "parallel/comm/dask_comm.py",
           "return array if array.flags.writeable else array.copy()", "return array",
           "parallel/comm/mailboxes::test_a_received_array_can_be_written_to_though_its_bytes_can_not"),
    Mutant("the bias is added before the sum in parts", "parallel/strategies/tensor_layers.py",
           '        z = self.operators.g(z)\n        z += p["b"]\n', '        z += p["b"]\n        z = self.operators.g(z)\n',
           "parallel/strategies/tensor_parallel::test_one_pair_forward_and_backward_is_the_serial_pair"),
    Mutant("rounding noise the same in every step", "parallel/strategies/compressed.py",
           "[self._seed, epoch, step, self._comm.rank, 2]", "[self._seed, epoch, self._comm.rank, 2]",
           "parallel/strategies/compression::test_no_two_roundings_use_the_same_numbers"),
    Mutant("rounding noise the same in every epoch", "parallel/strategies/compressed.py",
           "[self._seed, epoch, step, self._comm.rank, 2]", "[self._seed, step, self._comm.rank, 2]",
           "parallel/strategies/compression::test_no_two_roundings_use_the_same_numbers"),
    Mutant("a workspace is never used again", "parallel/strategies/pipeline_stage.py",
           "        self._free.append(workspace)\n", "",
           "parallel/strategies/workspaces::test_more_steps_need_no_more_workspaces"),
    # What is left behind, and whose it is.
    Mutant("a message for a run that has ended opens its mailbox again", "parallel/comm/dask_comm.py",
           "            self._ended.setdefault(generation, reason)\n", "",
           "parallel/comm/mailboxes::test_what_comes_for_a_run_that_has_ended_is_refused_and_enters_no_other"),
    Mutant("one mailbox for all runs", "parallel/comm/dask_comm.py",
           "self._open.setdefault(generation, Mailbox())", 'self._open.setdefault("", Mailbox())',
           "parallel/comm/mailboxes::test_what_comes_for_a_run_that_has_ended_is_refused_and_enters_no_other"),
    Mutant("an empty queue stays for each tag", "parallel/comm/mailbox.py",
           "            if not queue:\n                del self._messages[source, tag]\n", "",
           "parallel/comm/mailboxes::test_what_has_been_taken_leaves_nothing_behind"),
    Mutant("the plugin of a run under way is replaced", "parallel/launch/workers.py",
           "if name not in dask_worker.plugins:", "if True:",
           "parallel/launch/watch::test_workers_that_have_their_mailboxes_keep_them"),
    Mutant("a segment keeps its name", "parallel/channels/segment.py",
           "            self._forget_name()\n", "            pass\n",
           "parallel/channels/whose_segment::test_a_name_lasts_until_all_have_opened_it_and_no_longer"),
    Mutant("a segment of another run is taken for one's own", "parallel/channels/segment.py",
           'return "" if found == token else f"{path} is another file"', 'return ""',
           "parallel/channels/whose_segment::test_the_file_of_another_run_under_that_name_is_refused"),
    # Failures.
    Mutant("the supervisor forgets the silent ones", "parallel/launch/watch.py",
           "        self._silent.append(worker)\n", "",
           "parallel/launch/watch::test_a_silent_worker_is_told_to_stop_with_the_others_and_is_stuck_like_those_that_go_on"),
    Mutant("the step of the rank that was furthest behind", "parallel/launch/watch.py",
           "cause.step = max(steps)", "cause.step = min(steps)",
           "parallel/launch/watch::test_the_step_of_a_lost_worker_is_the_last_that_another_rank_was_in"),
    Mutant("the failure heard of first is called the cause", "parallel/comm/outcome.py",
           "first = min(failed, key=_weight)", "first = failed[0]",
           "parallel/comm/outcome::test_the_cause_comes_before_its_consequences_in_whatever_order_they_arrive"),
    Mutant("a worker that answers is restarted", "parallel/launch/workers.py",
           "if answers(own, worker) or worker not in own.nthreads():", "if worker not in own.nthreads():",
           "parallel/launch/watch::test_a_worker_that_answers_or_is_gone_is_not_restarted"),
    Mutant("any news of a worker is its loss", "parallel/launch/watch.py",
           'if message.get("action") == "remove-worker":', "if True:",
           "parallel/launch/watch_run::test_a_worker_that_is_removed_is_lost_and_the_others_are_stopped"),
    Mutant("a worker that has died meanwhile is taken", "parallel/launch/workers.py",
           "if len(chosen) < least or not set(chosen) <= client.nthreads().keys():", "if len(chosen) < least:",
           "parallel/launch/choosing::test_workers_that_die_while_they_are_chosen_or_equipped_are_not_taken"),
    Mutant("a scheduler with much to do gets too little time", "parallel/launch/client.py",
           "self.limit = max(timeout, PATIENCE)", "self.limit = timeout",
           "parallel/launch/limited_client::test_a_client_connects_in_its_time_and_a_call_may_then_take_as_long"),
    Mutant("a module of PyTorch is validated as it is trained", "parallel/torch_ddp/rank.py",
           "        module.eval()\n        if", "        if",
           "parallel/torch_ddp/torch_one_rank::test_a_training_on_one_rank_is_that_of_pytorch_alone"),
    Mutant("a trial that was lost goes to the end of the queue", "parallel/search/dask_pool.py",
           "self._waiting.appendleft(trial)", "self._waiting.append(trial)",
           "parallel/search/pool::test_each_thread_gets_one_and_a_trial_that_was_lost_is_the_next_to_run"),
    # Measurements.
    Mutant("what a step does last is booked as input", "parallel/training/replica.py",
           '                self.save(epoch, step + 1, self.session.gather())\n            self.clock.lap("compute")\n',
           '                self.save(epoch, step + 1, self.session.gather())\n',
           "parallel/training/predicted::test_what_a_step_does_last_is_booked_as_compute"),
    Mutant("each measurement is as fast as itself", "cli/bench.py",
           'rows[0]["rows_per_second"]', 'rows[-1]["rows_per_second"]',
           "cli/cli::test_bench_measures_one_two_and_the_most_workers"),
    # Checkpoints.
    Mutant("data are told apart by their first rows", "parallel/fingerprints.py",
           "range(0, len(rows), _ROWS)", "range(0, min(len(rows), _ROWS), _ROWS)",
           "parallel/training/describe::test_other_numbers_anywhere_are_other_data"),
    Mutant("a relative path is sent to workers", "paths.py",
           "str(check_path(value, where=where, name=name).absolute())", "str(check_path(value, where=where, name=name))",
           "parallel/training/describe::test_workers_find_the_directory_from_wherever_they_run"),
]  # fmt: skip


# What tests of the parallel part import and share.
SHARED = ("__init__.py", "patience.py", "parallel/conftest.py", "parallel/sessions.py")

# Runs pytest in a copy of itself that has imported what takes seconds to import.
COPIES = """
import json, os, sys, traceback
import distributed, numpy, pytest, torch._dynamo
for line in sys.stdin:
    folder, arguments = json.loads(line)
    if (copy := os.fork()) == 0:
        code = 70
        try:
            os.chdir(folder)
            sys.path.insert(0, folder)
            os.environ["PYTHONPATH"] = folder  # of the processes that the tests start
            for stream in (1, 2):
                os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            code = int(pytest.main(arguments))
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)
"""


def _place(test: str) -> str:
    """Return what pytest calls a test: ``core/network::test_x`` is in tests/core/test_network.py."""
    path, _, function = test.partition("::")
    folder, _, name = path.rpartition("/")
    return f"tests/{folder or 'core'}/test_{name}.py::{function}"


class Runs:
    """Runs tests, as they are, on copies of the package with one bug in each."""

    def __init__(self, place: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", COPIES], cwd=place, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            # Plugins that these tests do not need would take half of the time.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1",
                 "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )  # fmt: skip

    def __call__(
        self, folder: Path, tests: list[str], mutant: Mutant | None = None
    ) -> tuple[int, str]:
        """Return pytest's exit code, and the end of what it said."""
        # With what Python has compiled: of the one file that is changed, it compiles the new version.
        shutil.copytree(ROOT / "course_lib", folder / "course_lib")
        names = [_place(test) for test in tests]
        for file in (*SHARED, *(name.partition("::")[0].removeprefix("tests/") for name in names)):
            (folder / "tests" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "tests" / file, folder / "tests" / file)
        if mutant is not None:
            changed = folder / "course_lib" / mutant.file
            source = changed.read_text(encoding="utf-8")
            assert mutant.right in source, f"{mutant.file} no longer contains {mutant.right!r}"
            changed.write_text(source.replace(mutant.right, mutant.wrong), encoding="utf-8")
        arguments = [
            "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "pytest_timeout",
            "-W", "error", f"--rootdir={folder}", "-c", os.devnull, *names,
        ]  # fmt: skip
        print(json.dumps([str(folder), arguments]), file=self._server.stdin, flush=True)
        answers, _, _ = select.select([self._server.stdout], [], [], patient(100))
        assert answers, "the tests do not end"
        return int(self._server.stdout.readline()), (folder / "said").read_text("utf-8")[-4000:]

    def close(self) -> None:
        """End the process, with what it may still have started."""
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    runs = Runs(tmp_path_factory.mktemp("copies"))
    yield runs
    runs.close()


def test_without_a_bug_all_of_these_tests_pass(tmp_path: Path, run: Runs) -> None:
    code, said = run(tmp_path, sorted({mutant.test for mutant in MUTANTS}))
    assert code == 0, said


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.bug for m in MUTANTS])
def test_every_bug_is_found_by_the_test_that_is_to_find_it(
    tmp_path: Path, run: Runs, mutant: Mutant
) -> None:
    code, said = run(tmp_path, [mutant.test], mutant)
    # 1: tests ran and some failed. Anything else (2: the copy does not even import) proves nothing.
    assert code == 1, f"survived: {mutant.bug}\n{said}"
