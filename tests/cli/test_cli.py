"""The command line does what the functions do, and says in a sentence what it cannot do.

Run in this process where that is enough, and as a process of its own where exit codes, output
streams and other processes matter. The oracle is the serial ``fit``.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from course_lib import Adam, __version__, fit, mlp
from course_lib.cli import main, parser
from course_lib.cli.cluster import opened
from course_lib.data import load_digits
from course_lib.exercises.grade import Grade, Mark
from course_lib.parallel import write_shards
from tests.patience import patient

pytest.importorskip("sklearn")

SMALL = ["--sizes", "64,8,10", "--epochs", "2", "--batch-size", "100", "--json"]
THREADS = ["--comm", "inprocess"]


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "course_lib", *arguments], cwd=root, capture_output=True, text=True,
        timeout=patient(100), check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def said(capsys, *arguments: str) -> str:
    """Run in this process; return what is printed."""
    assert main(arguments) == 0
    return capsys.readouterr().out


def assert_serial(text: str, workers: int) -> None:
    """The history is that of the serial training."""
    x, y, xv, yv = load_digits(seed=0)
    net = mlp([64, 8, 10])
    theta = net.init(np.random.default_rng(0))
    options = {"epochs": 2, "batch_size": 100, "seed": 0, "validation": (xv, yv)}
    reference = fit(net, theta, Adam(0.01), x, y, **options)
    found = json.loads(text)
    assert found["workers"] == workers
    assert found["replicas_identical"]
    np.testing.assert_allclose(found["history"]["loss"], reference.history["loss"], rtol=1e-10)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_train_in_threads_is_the_serial_training(capsys, workers):
    assert_serial(said(capsys, "train", *SMALL, *THREADS, "--workers", workers), int(workers))


def test_train_as_a_process_with_a_private_cluster(root):
    pytest.importorskip("distributed")
    done = run("train", *SMALL, "--workers", "1:2", "--progress", root=root)
    assert done.returncode == 0, done.stderr
    assert_serial(done.stdout, 2)
    assert "dashboard: http://127.0.0.1:" in done.stderr
    assert "2/2" in done.stderr  # the progress bar


@contextmanager
def cluster(folder: Path, *tls: str) -> Iterator[str]:
    """A scheduler and two workers, started by hand; their address."""
    contact = folder / "scheduler.json"
    python = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    protocol = "tls" if tls else "tcp"
    dashboard = ["--dashboard-address", "127.0.0.1:0"]
    here = ["--host", "127.0.0.1", "--protocol", protocol, "--scheduler-file", str(contact), *tls]
    started = [
        subprocess.Popen(
            [*python, "distributed.cli.dask_scheduler", *here, "--port", "0",
             *dashboard],
            cwd=folder, env=environment, **quiet,
        )
    ]  # fmt: skip
    try:
        worker = ["--scheduler-file", str(contact), "--nthreads", "1", *dashboard, *tls]
        started += [
            subprocess.Popen(
                [*python, "distributed.cli.dask_worker", *worker, "--host", "127.0.0.1",
                 "--local-directory", str(folder), "--no-nanny"],
                cwd=folder, env=environment, **quiet,
            )
            for _ in range(2)
        ]  # fmt: skip
        yield _address(contact)
    finally:
        for process in reversed(started):
            process.kill()
        for process in started:
            process.wait(10)


def _address(contact: Path) -> str:
    for _ in range(300):
        try:
            return json.loads(contact.read_text())["address"]
        except (OSError, ValueError):  # not there yet, or not complete
            time.sleep(0.1)
    raise AssertionError("the scheduler did not start")


def test_a_scheduler_and_workers_started_by_hand(tmp_path, root):
    pytest.importorskip("distributed")
    with cluster(tmp_path) as address:
        assert address.startswith("tcp://")
        done = run("train", *SMALL, "--scheduler", address, "--workers", "2", root=root)
        assert done.returncode == 0, done.stderr
        assert_serial(done.stdout, 2)
        done = run("doctor", "--scheduler", address, root=root)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("1 threads, course_lib") == 2
        done = run("train", *SMALL, "--scheduler", address, "--workers", "3", "--timeout", "3",
                   root=root)  # fmt: skip
        assert done.returncode == 1
        assert "the cluster has 2" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_same_with_tls(tmp_path, root):
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    script = root / "examples" / "clusters" / "make_certificates.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=patient(30))
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    mine = [part for name, file in files.items() for part in (f"--tls-{name}", file)]
    theirs = ["--tls-ca-file", files["ca"], *mine[2:]]
    with cluster(tmp_path, *theirs) as address:
        assert address.startswith("tls://")
        done = run("train", *SMALL, "--scheduler", address, "--workers", "2", *mine, root=root)
        assert done.returncode == 0, done.stderr
        assert_serial(done.stdout, 2)
        # Who has no certificate stays outside.
        done = run("train", *SMALL, "--scheduler", address, "--timeout", "5", root=root)
        assert done.returncode == 1
        assert "course-lib: no Dask scheduler could be reached" in done.stderr
        assert "give --tls-ca, --tls-cert and --tls-key" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("secret", [True, False])
def test_certificates_are_told_to_dask_while_it_is_used(monkeypatch, secret):
    """And to no other connection of this process, before or after."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    names = "ca-file", "client.cert", "client.key"

    def told():
        return [dask.config.get(f"distributed.comm.tls.{name}", None) for name in names]

    @contextmanager
    def connected(address, *, workers, timeout):
        yield SimpleNamespace(dashboard_link=f"{address} {workers} {timeout:g}", told=told())

    monkeypatch.setattr("course_lib.cli.cluster._check", lambda options, given: None)
    monkeypatch.setattr("course_lib.parallel.launch.connect", connected)
    files = ["--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"] if secret else []
    typed = ["doctor", "--scheduler", "tls://h:1", "--workers", "2:3", "--timeout", "4", *files]
    before = told()
    with opened(parser().parse_args(typed)) as client:
        assert client.told == (["a", "b", "c"] if secret else before)
        assert client.dashboard_link == "tls://h:1 3 4"
    assert told() == before


def test_a_training_goes_on_from_its_checkpoint(capsys, tmp_path):
    options = ["train", *SMALL, *THREADS, "--checkpoint", str(tmp_path), "--every", "7"]
    one = said(capsys, *options[:4], "1", *options[5:], "--epochs", "1")
    assert json.loads(one)["epochs"] == 1
    assert_serial(said(capsys, *options), 2)


STRATEGIES = [
    ("virtual:8", "VirtualShards"),
    ("local:2", "LocalSGD"),
    ("server:0", "AsyncParameterServer"),
    ("zero1", "ZeRO1"),
    ("topk:0.5", "TopK"),
    ("int8", "Int8"),
    ("powersgd:2", "PowerSGD"),
    ("pipeline:2:4:1f1b", "1f1b"),
    ("tensor", "TensorParallel"),
    ("sync:ring", "ring"),
]


@pytest.mark.parametrize(("text", "made"), STRATEGIES)
def test_every_strategy_can_be_typed(capsys, text, made):
    found = json.loads(said(capsys, "train", *SMALL, *THREADS, "--strategy", text))
    assert made in found["strategy"]
    assert found["history"]["loss"][1] < found["history"]["loss"][0]


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adamw"])
def test_every_optimizer_can_be_typed(capsys, name):
    found = json.loads(said(capsys, "train", *SMALL, *THREADS, "--optimizer", name))
    assert found["history"]["loss"][1] < found["history"]["loss"][0]


def test_data_of_a_file_in_single_precision_and_text_output(capsys, tmp_path):
    x, y, xv, yv = load_digits(seed=0)
    np.savez(tmp_path / "mine.npz", x=x, y=y, x_test=xv, y_test=yv)
    source = ["--data", str(tmp_path / "mine.npz")]
    assert_serial(said(capsys, "train", *SMALL, *THREADS, *source), 2)
    text = said(
        capsys, "train", *THREADS, *source, "--dtype", "float32", "--epochs", "3", "--patience", "2"
    )
    assert "replicas identical: yes" in text
    assert "after 3 epochs: loss " in text
    assert "val_accuracy 0.9" in text


@pytest.mark.parametrize("kind", ["npy", "shards"])
def test_data_larger_than_memory(capsys, tmp_path, kind):
    x, y, _, _ = load_digits(seed=0)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    write_shards(tmp_path / "shards", [(x[:500], y[:500]), (x[500:], y[500:])])
    data = f"{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}"
    if kind == "shards":
        data = str(tmp_path / "shards")
    assert_serial(said(capsys, "train", *SMALL, *THREADS, "--data", data), 2)
    assert main(["search", *THREADS, "--try", "lr=0.1,1", "--data", data]) == 2
    assert "keeps its data in memory" in capsys.readouterr().err
    data = f"{tmp_path / 'y.npy'},{tmp_path / 'x.npy'}"
    assert main(["train", *THREADS, "--data", data]) == 2
    assert "expected x of shape (n, features)" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["grid", "random", "halving", "hyperband"])
def test_search_by_every_method(capsys, method):
    tries = {"lr": "1e-4:1e-1:log", "depth": "0:2"}
    if method == "grid":
        tries = {"lr": "0.001,0.02", "optimizer": "sgd,adam"}
    typed = [part for name, v in tries.items() for part in ("--try", f"{name}={v}")]
    options = ["search", *THREADS, "--method", method, "--epochs", "3", "--trials", "4", *typed]
    found = json.loads(said(capsys, *options, "--json"))
    assert found["best"]["score"] == max(row["score"] for row in found["rows"])
    assert set(found["best"]["config"]) == set(tries)
    assert found["best"]["score"] > 0.7
    assert "best: trial" in said(capsys, *options)


def test_search_on_a_private_cluster(root):
    pytest.importorskip("distributed")
    options = ["search", "--method", "grid", "--try", "optimizer=sgd,adam", "--epochs", "1"]
    done = run(*options, "--json", root=root)
    assert done.returncode == 0, done.stderr
    here = run(*options, "--json", *THREADS, root=root)
    assert json.loads(done.stdout)["rows"] == json.loads(here.stdout)["rows"]


@pytest.mark.parametrize("scaling", ["weak", "strong"])
def test_bench_measures_one_two_and_the_most_workers(capsys, scaling):
    options = ["bench", *THREADS, "--sizes", "16,8,3", "--steps", "3", "--workers", "3"]
    found = json.loads(said(capsys, *options, "--scaling", scaling, "--json"))
    assert [row["workers"] for row in found["rows"]] == [1, 2, 3]
    first = found["rows"][0]
    assert first["speedup"] == 1
    for row in found["rows"]:
        batch = 128 * (row["workers"] if scaling == "weak" else 1)
        assert row["rows_per_second"] == pytest.approx(batch / row["step_seconds"])
        assert 3 * row["step_seconds"] == pytest.approx(row["compute"] + row["communication"])
        gain = row["rows_per_second"] / first["rows_per_second"]
        assert row["speedup"] == pytest.approx(gain)
    assert len(said(capsys, *options).splitlines()) == 4


def test_bench_shows_a_line_for_each_measurement(capsys, monkeypatch):
    """A second worker that spends a quarter of its time on messages, and is half as good."""

    def measured(options, client, p):
        times = {"step_seconds": 0.002 * p, "compute": 3.0, "communication": p - 1.0}
        return {"workers": p, "rows_per_second": 1000.0, **times}

    monkeypatch.setattr("course_lib.cli.bench._measure", measured)
    lines = said(capsys, "bench", *THREADS, "--workers", "2").splitlines()
    assert [line.split() for line in lines] == [
        ["workers", "ms/step", "compute", "communication", "rows/s", "speed-up", "efficiency"],
        ["1", "2.00", "100", "%", "0", "%", "1000", "1.00", "100", "%"],
        ["2", "4.00", "75", "%", "25", "%", "1000", "1.00", "50", "%"],
    ]
    assert {len(line) for line in lines} == {len(lines[0])}


def test_bench_starts_no_measurement_after_its_time(capsys, monkeypatch):
    """But one at least."""
    monkeypatch.setattr("course_lib.cli.bench._measure", lambda o, c, p: {"rows_per_second": 1.0})
    options = ["bench", *THREADS, "--workers", "8", "--json"]
    assert len(json.loads(said(capsys, *options))["rows"]) == 4
    assert len(json.loads(said(capsys, *options, "--seconds", "1e-9"))["rows"]) == 1


def test_doctor_reports_this_installation_and_starts_no_cluster(capsys):
    assert main(["doctor"]) == 0
    heard = capsys.readouterr()
    assert heard.out.startswith("Python\n") and "Cluster" not in heard.out
    assert heard.err == ""


FOUND = [
    ({"tcp://a": "course_lib 1", "tcp://b": "course_lib 1"}, 0, ""),
    (
        {"tcp://a": "course_lib 1", "tcp://b": ImportError("no course_lib")},
        1,
        "1 of 2 workers cannot",
    ),
    ({"tcp://b": "course_lib 1"}, 1, "1 of 2 workers cannot run course_lib; install it there."),
    ({}, 1, "tcp://h:1 answers, but has no workers; start `dask worker`."),
]


@pytest.mark.parametrize(("found", "code", "sentence"), FOUND)
def test_doctor_says_what_each_worker_has(capsys, monkeypatch, found, code, sentence):
    """A cluster in which one cannot import the package, or has not answered, fits not."""

    class Client:
        def nthreads(self):
            return {"tcp://b": 3, "tcp://a": 2} if found else {}

        def run(self, function, on_error):
            assert (function(), on_error) == (f"course_lib {__version__}", "return")
            return found

    monkeypatch.setattr("course_lib.cli.doctor.opened", lambda options: nullcontext(Client()))
    assert main(["doctor", "--scheduler", "tcp://h:1"]) == code
    heard = capsys.readouterr()
    assert sentence in heard.err and (heard.out == "") == bool(code)
    if found:
        lines = (heard.out + heard.err.removeprefix("course-lib: ")).splitlines()
        start = lines.index("Cluster tcp://h:1")
        assert lines[start + 1 : start + 3] == [
            f"  {address}: {n} threads, {found.get(address)}"
            for address, n in (("tcp://a", 2), ("tcp://b", 3))
        ]


def test_grade_prints_all_marks_and_says_which_run_has_not_ended(capsys, monkeypatch, tmp_path):
    """In a table or as JSON; exit code 0 only if every notebook ran to its end."""
    good, bad = tmp_path / "good.ipynb", tmp_path / "bad.ipynb"
    for file in (good, bad):
        file.write_text("{}")
    mark = Mark("activations.elu", "ELU", "easy", 10, 1, None, "")
    grades = {
        str(good): Grade(str(good), (mark,)),
        str(bad): Grade(str(bad), (mark,), ("cell 2: Error: no",), "the kernel died in cell 3"),
    }
    asked = []

    def graded(files, **limits):
        asked.append(limits)
        return [grades[file] for file in files]

    monkeypatch.setattr("course_lib.cli.grade.grade_all", graded)
    table = f"{good}: 1 of 1\n  1  activations.elu  easy    10 min  passed\n"
    assert said(capsys, "grade", str(good)) == table
    assert main(["grade", str(bad), str(good), "--timeout", "7", "--cell-timeout", "3"]) == 1
    heard = capsys.readouterr()
    ended = "  cell 2: Error: no\n  stopped: the kernel died in cell 3\n\n"
    assert heard.out == table.replace("good", "bad") + ended + table
    assert heard.err == (f"course-lib: not run to the end: {bad}: the kernel died in cell 3.\n")
    (found,) = json.loads(said(capsys, "grade", str(good), "--json"))
    assert (found["total"], found["of"], found["marks"][0]["level"]) == (1, 1, "easy")
    assert asked[0] == asked[2] == {"cell_seconds": 120, "seconds": 900}
    assert asked[1] == {"cell_seconds": 3, "seconds": 7}


def options_with_defaults():
    (commands,) = (action.choices for action in parser()._actions if action.choices)
    return [
        (name, option) for name, one in commands.items() for option in one._actions
        if option.nargs != 0 and option.default not in (None, math.inf)
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "option"), options_with_defaults())
def test_the_help_says_the_default_that_is_taken(command, option):
    told = re.search(r"\(default: ([^)]+)\)", option.help)
    assert (option.type or str)(told[1] if told else "no default") == option.default


WRONG = [
    ("train --sizes 64,x", "expected widths such as 64,32,10, got '64,x'"),
    ("train --workers 2:", "or LEAST:MOST such as 2:8, got '2:'"),
    ("train --workers 1:2:3", "or LEAST:MOST"),
    ("train --workers 0", "expected a number such as 4"),
    ("train --workers 4:2 --comm inprocess", "needs least <= most"),
    ("train --sizes 60,10 --comm inprocess", "x must have 60 columns"),
    ("train --sizes 64,5 --comm inprocess", "must end with at least 10"),
    ("train --strategy loca:2 --comm inprocess", "did you mean 'local'"),
    ("train --strategy local --comm inprocess", "expected local:STEPS"),
    ("train --strategy local:0 --comm inprocess", "expected local:STEPS; LocalSGD: h must be"),
    ("train --optimizer adamm", "did you mean 'adamw'|did you mean 'adam'"),
    ("train --data digit", "did you mean 'digits'"),
    ("train --data missing.npz", "there is no such file"),
    ("train --data README.md", "expected a .npz file"),
    ("train --epochs 0 --comm inprocess", "epochs"),
    ("train --every 3 --comm inprocess", "checkpoint= must say where"),
    ("train --comm inprocess --scheduler tcp://127.0.0.1:1", "leave out it or --scheduler"),
    ("train --scheduler 127.0.0.1:8786", "expected an address such as tcp://"),
    ("train --tls-ca x --scheduler tcp://127.0.0.1:1", "certificates are for a scheduler at a tls"),
    ("train --tls-ca x --scheduler tls://127.0.0.1:1", "belong together"),
    ("train --tls-ca x --tls-key x --scheduler tls://127.0.0.1:1", "belong together"),
    (
        "train --tls-ca x --tls-cert x --tls-key x --scheduler tls://127.0.0.1:1",
        "--tls-ca x: there is no such file",
    ),
    ("search --try rate=1,2 --comm inprocess", "unknown hyper-parameter 'rate'"),
    ("search --try lr=1:0 --comm inprocess", "expected NAME=A,B,C or NAME=LOW:HIGH"),
    ("search --try width=1:9:log --comm inprocess", "may be log"),
    ("search --try optimizer=best --comm inprocess", "unknown optimizer 'best'"),
    ("search", "--try"),
    ("fly", "invalid choice"),
]


@pytest.mark.parametrize(("typed", "sentence"), WRONG)
def test_what_is_wrong_is_said_and_the_exit_code_is_2(capsys, root, monkeypatch, typed, sentence):
    monkeypatch.chdir(root)
    assert main(typed.split()) == 2
    heard = capsys.readouterr()
    assert heard.out == ""
    assert any(part in heard.err for part in sentence.split("|"))


def test_files_that_are_not_data_are_refused(capsys, tmp_path):
    for arrays, sentence in (
        ({"x": np.zeros((2, 2))}, "expected arrays x and y, found x"),
        ({"x": np.zeros((2, 2)), "y": np.zeros(2)}, "n integer labels"),
    ):
        np.savez(tmp_path / "mine.npz", **arrays)
        assert main(["train", "--data", str(tmp_path / "mine.npz"), *THREADS]) == 2
        assert sentence in capsys.readouterr().err


def test_a_run_that_fails_has_exit_code_1(capsys):
    assert main(["train", *SMALL, *THREADS, "--optimizer", "sgd", "--lr", "1e200"]) == 1
    assert "course-lib: " in capsys.readouterr().err
    assert main(["train", "--scheduler", "tcp://127.0.0.1:1", "--timeout", "2"]) == 1
    assert "no Dask scheduler could be reached" in capsys.readouterr().err


def test_the_help_and_the_version_end_with_0(capsys):
    for command in ([], ["train"], ["search"], ["bench"], ["grade"], ["doctor"]):
        assert main([*command, "--help"]) == 0
    assert main(["--version"]) == 0
    assert "course-lib 0" in capsys.readouterr().out


def test_the_script_that_is_installed_is_this_one(root):
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"course-lib": "course_lib.cli:main"}
