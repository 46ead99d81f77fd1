"""Whatever is typed, or is in a file that is named, is answered in a sentence with exit code 2.

One table: what is typed, and what the sentence has to say (what, where, expected, got). None of it
may print anything else, raise, warn, or begin with the work.
"""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from course_lib import mlp
from course_lib.cli import main
from course_lib.cli.output import complain, say
from course_lib.model_file import save_model
from tests.interrupts import started
from tests.patience import patient

HERE = "--comm inprocess --workers 1 --epochs 1"
X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.arange(20) % 2

ARRAYS = {
    "ok": {"x": X, "y": Y},
    "complex": {"x": 1j * X, "y": Y},
    "text": {"x": X.astype(str), "y": Y},
    "object": {"x": X.astype(object), "y": Y},
    "norows": {"x": X[:0], "y": Y[:0]},
    "nocolumns": {"x": X[:, :0], "y": Y},
    "minus": {"x": X, "y": Y - 1},
    "huge": {"x": X, "y": Y * 10**9},
    "flat": {"x": X[:, 0], "y": Y},
    "short": {"x": X, "y": Y[:10]},
    "floats": {"x": X, "y": Y * 1.0},
    "bools": {"x": X, "y": Y > 0},
    "nan": {"x": X * np.nan, "y": Y},
    "noy": {"x": X},
    "wide": {"x": np.zeros((2, 4))},
    "narrow": {"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y},
    "minustest": {"x": X, "y": Y, "x_test": X, "y_test": Y - 2},
    "notest": {"x": X, "y": Y, "x_test": X[:0], "y_test": Y[:0]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are data, and files that are not."""
    place = tmp_path_factory.mktemp("typed")
    for name, arrays in ARRAYS.items():
        np.savez(place / f"{name}.npz", **arrays)
    save_model(place / "model", mlp([3, 2]), np.zeros(8))
    whole = (place / "ok.npz").read_bytes()
    for name, content in (
        ("empty.npz", b""),
        ("cut.npz", whole[:200]),
        ("half.npz", whole[:-30]),
        ("zeros.npz", whole[:150] + bytes(250) + whole[400:]),
        ("junk.npz", b"junk"),
        ("afile", b"x"),
        ("empty.npy", b""),
        ("junk.npy", b"junk"),
    ):
        (place / name).write_bytes(content)
    arrays = {"x": X, "y": Y, "xc": 1j * X, "ym": Y - 1, "x0": X[:0], "y0": Y[:0], "y5": Y[:5]}
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    for name in ("emptyfolder", "folder.npz", "shards"):
        (place / name).mkdir()
    (place / "shards" / "x-00000.npy").write_bytes(b"")
    return place


def _data(name: str, sentence: str) -> tuple[str, str]:
    return f"train {HERE} --data {name}", f"--data {name}: {sentence}"


def _train(typed: str, sentence: str) -> tuple[str, str]:
    return f"train {HERE} --data ok.npz {typed}", sentence


def _predict(typed: str, sentence: str) -> tuple[str, str]:
    return f"predict {typed}", sentence


def _search(typed: str, sentence: str) -> tuple[str, str]:
    return f"search --comm inprocess {typed}", sentence


NOT_WHOLE = "not a whole .npz file of numbers"
LABELS = "expected labels y that count the classes from 0"
SHAPES = "expected x of shape (n, features) and n integer labels y, got shapes"
RANGE = "expected NAME=A,B,C or NAME=LOW:HIGH[:log]; "
ADDRESS = "expected an address such as tcp://127.0.0.1:8786"
NO_NAME = "expected a name, not an empty one, got ''"

TYPED = [
    _data("empty.npz", NOT_WHOLE),
    _data("cut.npz", NOT_WHOLE),
    _data("half.npz", NOT_WHOLE),
    _data("zeros.npz", NOT_WHOLE),
    _data("junk.npz", NOT_WHOLE),
    _data("object.npz", NOT_WHOLE),
    _data("complex.npz", "expected real numbers in x, got complex128"),
    _data("text.npz", "expected real numbers in x, got <U"),
    _data("norows.npz", "expected at least one row and one column in x, got the shape (0, 3)"),
    _data("nocolumns.npz", "expected at least one row and one column in x, got the shape (20, 0)"),
    _data("minus.npz", f"{LABELS}, below 100,000, got -1"),
    _data("huge.npz", f"{LABELS}, below 100,000, got 1000000000"),
    _data("flat.npz", f"{SHAPES} (20,) and (20,)"),
    _data("short.npz", f"{SHAPES} (20, 3) and (10,)"),
    _data("floats.npz", f"{SHAPES} (20, 3) and (20,), y of type float64"),
    _data("bools.npz", f"{SHAPES} (20, 3) and (20,), y of type bool"),
    _data("noy.npz", "expected arrays x and y, found x"),
    _data("narrow.npz", "expected x_test with as many columns as x, 3, got 2"),
    _data("minustest.npz", "expected labels y_test that count the classes from 0"),
    _data("notest.npz", "expected at least one row and one column in x_test"),
    _data("gone.npz", "there is no such file; names are digits"),
    _data("afile", "expected a .npz file with arrays x and y"),
    _data("x.npy,y.npy,y.npy", "there is no such file"),
    _data("xc.npy,y.npy", "expected real numbers in x, got complex128"),
    _data("x.npy,ym.npy", f"{LABELS}, below 100,000, got -1"),
    _data("x0.npy,y0.npy", "expected at least one row"),
    _data("x.npy,y5.npy", f"{SHAPES} (20, 3) and (5,)"),
    _data("y.npy,x.npy", f"{SHAPES} (20,) and (20, 3)"),
    _data("empty.npy,y.npy", "cannot be read as rows"),
    _data("junk.npy,y.npy", "cannot be read as rows"),
    (f"train {HERE} --data nan.npz", "x must be finite, got nan at row 0, column 0"),
    (f"train {HERE} --data x.npy,gone.npy", "gone.npy"),
    (f"train {HERE} --data emptyfolder", "emptyfolder"),
    (f"train {HERE} --data folder.npz", "folder.npz"),
    (f"train {HERE} --data shards", "shards"),
    (f"train {HERE} --data ''", NO_NAME),
    (f"train {HERE} --data digitss", "unknown data set 'digitss'; did you mean 'digits'?"),
    *(_train(f"--timeout {t}", f"--timeout: expected seconds above 0 and up to 1e+09, got '{t}'")
      for t in ("inf", "nan", "-1", "x", "0", "1e300")),
    _train("--checkpoint ''", NO_NAME),
    _train("--checkpoint afile", "afile: file exists; choose another place"),
    _train("--checkpoint afile/in", "afile/in: not a directory; choose another place"),
    *(_train(f"--workers {w}", f"expected a number such as 4, or LEAST:MOST such as 2:8, got '{w}'")
      for w in ("0", "-1", "x", "1:2:3", ":", "2:x")),
    _train("--workers 2:1", "needs least <= most"),
    *(_train(f"--sizes '{s}'", f"expected widths such as 64,32,10, got '{s}'")
      for s in ("", "3", "3,0,2", "3,,2", "3,1.5,2", "a")),
    _train("--sizes 4,2", "x must have 4 columns"),
    _train("--sizes 3,1", "--sizes must end with at least 2"),
    *(_train(f"--{name} {value}", f"expected a whole number of at least {least}, got '{value}'")
      for name, least in (("epochs", 1), ("batch-size", 1), ("seed", 0), ("patience", 1),
                          ("every", 1), ("max-restarts", 0))
      for value in (str(least - 1), "x", "1.5")),
    *(_train(f"--{name} {value}", f"expected a finite number, got '{value}'")
      for name in ("lr", "dropout") for value in ("nan", "inf", "x")),
    _train("--lr -1", "lr must be a finite number >= 0, got -1"),
    _train("--dropout 1", "dropout must be a finite number >= 0 and < 1, got 1"),
    _train("--every 5", "every= says when to save, and checkpoint= must say where"),
    _train("--activation relo", "did you mean 'relu'?"),
    _train("--optimizer ''", "unknown optimizer ''"),
    _train("--backend jax", "invalid choice: 'jax'"),
    _train("--dtype float16", "invalid choice: 'float16'"),
    _train("--comm pigeon", "unknown --comm 'pigeon'. Known: auto, dask,"),
    ("train --data ok.npz --comm pigeon", "unknown --comm 'pigeon'. Known: auto, dask,"),
    *(_train(f"--strategy '{s}'", sentence) for s, sentence in (
        ("", "unknown strategy ''"), (":", "unknown strategy ''"), ("loca", "did you mean 'local'"),
        ("local:x", "'x' is not a whole number"),
        ("topk:nan", "fraction must be a finite number > 0 and <= 1"),
        ("pipeline:0", "expected pipeline:STAGES:"), ("pipeline:2:4:x", "unknown pipeline"),
        ("sync:ringg", "did you mean 'ring'"), ("virtual:0", "at least 1, got 0"),
        ("server:-1", "at least 0, got -1"), ("zero1:3", "expected zero1"))),
    *((f"train --data ok.npz --scheduler {a}", f"--scheduler {a}: {ADDRESS}")
      for a in ("tcp://", "tcp://:", "tls://host", "http://host:8786", "tcp://host:x",
                "tcp://host:99999", "tcp://user@host:8786")),
    ("train --data ok.npz --scheduler ''", NO_NAME),
    ("train --scheduler tls://127.0.0.1:1 --tls-ca afile --tls-cert afile --tls-key afile",
     "expected the certificate of an authority, a certificate and its key, as PEM"),
    ("train --scheduler tls://127.0.0.1:1 --tls-ca ''", NO_NAME),
    ("train --frobnicate", "unrecognized arguments: --frobnicate"),
    _train("--save ''", NO_NAME),
    _train("--save afile/in", "afile: file exists; choose another place"),
    _predict("", "required: MODEL"),
    _predict("''", NO_NAME),
    _predict("gone", "gone: no such file or directory; choose another place"),
    _predict("emptyfolder", "emptyfolder: is a directory; choose another place"),
    _predict("afile", "load_model: afile is not a whole file of a model"),
    _predict("ok.npz", "load_model: ok.npz is not a whole file of a model"),
    *(_predict(f"model --data {name}", f"--data {name}: {why}") for name, why in (
        ("empty.npz", NOT_WHOLE), ("gone.npz", "there is no such file"),
        ("complex.npz", "expected real numbers in x"), ("flat.npz", SHAPES),
        ("norows.npz", "expected at least one row"), ("minus.npz", LABELS), ("short.npz", SHAPES),
        ("junk.npy", "expected a .npz file"), ("wide.npz", "expected rows of 3 numbers"))),
    _predict("model --data nan.npz", "x must be finite, got nan"),
    _predict("model --data digitss", "did you mean 'digits'?"),
    _predict("model --data digits", "expected rows of 3 numbers, as model was trained with"),
    _predict("model --data ok.npz --out answers.txt", "expected a name that ends with .npz"),
    _predict("model --data ok.npz --out ''", NO_NAME),
    _predict("model --data ok.npz --out afile/in.npz", "not a directory; choose another place"),
    _predict("model --seed -1", "expected a whole number of at least 0, got '-1'"),
    _search("", "required: --try"),
    _search("--try ''", "unknown hyper-parameter ''"),
    *(_search(f"--try {t}", f"--try {t}: {RANGE}{why}") for t, why in (
        ("lr", "expected a finite number, got ''"), ("lr=x", "expected a finite number, got 'x'"),
        ("lr=nan", "expected a finite number, got 'nan'"), ("lr=-1", "Adam: lr must be a finite"),
        ("lr=1:2:lin", "the third part of a range may be log"), ("lr=0:1:log", "LogUniform: low"),
        ("width=0", "expected a whole number of at least 1, got '0'"),
        ("width=1.5", "expected a whole number of at least 1, got '1.5'"),
        ("depth=-1", "expected a whole number of at least 0, got '-1'"),
        ("batch_size=0", "expected a whole number of at least 1, got '0'"),
        ("dropout=0.5,2", "mlp: dropout must be a finite number >= 0 and < 1, got 2"),
        ("dropout=1:2", "mlp: dropout must be a finite number"))),
    _search("--try lr=0.1 --try lr=0.2", "--try: expected each name once, got lr=0.1 lr=0.2"),
    _search("--try lr=0.1:0.2 --method grid", "grid: 'lr' is a distribution"),
    _search("--try lr=0.1 --method best", "invalid choice: 'best'"),
    _search("--try lr=0.1 --trials 0", "expected a whole number of at least 1, got '0'"),
    _search("--try lr=0.1 --data empty.npz", NOT_WHOLE),
    *((f"bench --comm inprocess --workers 1 {typed}", sentence) for typed, sentence in (
        ("--sizes 3", "expected widths such as 64,32,10, got '3'"),
        ("--steps 0", "expected a whole number of at least 1, got '0'"),
        ("--batch-size x", "expected a whole number of at least 1, got 'x'"),
        ("--seconds nan", "expected seconds above 0"), ("--seconds -1", "expected seconds above 0"),
        ("--strategy loca", "did you mean 'local'"), ("--scaling big", "invalid choice: 'big'"))),
    ("doctor --scheduler tcp://", ADDRESS),
    ("doctor --timeout x", "expected seconds above 0"),
    ("progress --all", "unrecognized arguments: --all"),
    ("grade", "FILE.ipynb"),
    ("grade ''", NO_NAME),
    ("grade gone.ipynb afile", "there is no file gone.ipynb"),
    ("grade emptyfolder", "there is no file emptyfolder"),
    ("grade afile --timeout inf", "expected seconds above 0"),
    ("grade afile --cell-timeout -1", "expected seconds above 0"),
    ("fly", "invalid choice: 'fly'"),
    ("", "required: COMMAND"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "sentence"), TYPED)
def test_it_is_said_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    typed: str, sentence: str,
) -> None:  # fmt: skip
    """A line, or two where the second says where to read on; and nothing was written."""
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(shlex.split(typed)) == 2
    heard = capsys.readouterr()
    assert heard.out == ""
    assert sentence in heard.err
    assert heard.err.startswith("course-lib") and heard.err.count("\n") <= 2
    assert heard.err.splitlines()[0].endswith((".", ")")) or "See course-lib" in heard.err
    assert sorted(folder.rglob("*")) == before


def test_what_is_typed_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "a\x1b[2K\nb.npz"]) == 2
    assert main(["train", "--epochs", "\x1b[2K"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_found_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the system says so only when it is asked, as for somebody who may do everything."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(["train", *HERE.split(), "--checkpoint", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"course-lib: {tmp_path}: permission denied; choose another place, or mend it.\n"
    )


def test_what_does_not_fit_into_memory_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No mistake of spelling: exit code 1."""
    assert main(["train", *HERE.split(), "--sizes", "64,99999999999,10"]) == 1
    assert "course-lib: too large for the memory: Unable to allocate" in capsys.readouterr().err


SHORT = f"train {HERE} --sizes 64,8,10"


@pytest.mark.skipif(os.name != "posix", reason="streams are closed as a POSIX shell does it")
@pytest.mark.parametrize(
    ("shell", "code", "heard"),
    [
        (f"{SHORT} >&-", 1, "course-lib: the standard output is closed; what came out cannot be"),
        (f"{SHORT} >/dev/full", 1, "course-lib: the standard output takes no more: No space"),
        (f"{SHORT} 2>&-", 0, ""),
        (f"{SHORT} <&-", 0, ""),
        (f"{SHORT} >&- 2>&-", 1, ""),
        (f"{SHORT} | true", 1, ""),
        ("progress | true", 1, ""),
        ("train --epochs x 2>&-", 2, ""),
        ("train --epochs x 2>/dev/full", 2, ""),
    ],
)
def test_streams_may_be_closed_or_full(root: Path, shell: str, code: int, heard: str) -> None:
    """The exit code says what came of it, and nobody complains of a stream at the end."""
    typed, pipe, _ = f"{sys.executable} -m course_lib {shell}".partition("|")
    script = f"{typed}; echo $? >&3"
    if pipe:
        script = f"(sleep 1; {script}) | true; wait"  # its reader has gone for sure
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; {script}"], cwd=root, capture_output=True, text=True,
        timeout=100, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert int(done.stdout.split()[-1]) == code
    assert done.stderr.startswith(heard) and done.stderr.count("\n") == bool(heard)


@pytest.mark.parametrize("write", [say, complain])
@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Gone"), OSError(28, "Full")])
def test_what_a_stream_has_not_taken_goes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], None], error: OSError
) -> None:
    """Python would try again at its end, and complain."""
    with (tmp_path / "left").open("wb") as file:

        class Refusing(io.StringIO):
            def write(self, _: str) -> int:
                raise error

            def fileno(self) -> int:
                return file.fileno()

        monkeypatch.setattr(sys, "stdout" if write is say else "stderr", Refusing())
        with suppress(OSError):
            write("a line")
        os.write(file.fileno(), b"the rest")
    assert (tmp_path / "left").read_bytes() == b""


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many"), ValueError("closed")])
def test_a_stream_that_cannot_be_given_up_either_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is full, and no file stands behind it, or no other can be opened in its place."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            raise error

    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["train", "--epochs", "x"]) == 2
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="the standard output takes no more: No space left on dev"):
        say("a line")


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_an_interrupt_is_one_word(root: Path, tmp_path: Path) -> None:
    """While it trains in threads; exit code 130."""
    command = [sys.executable, "-m", "course_lib", "train", "--comm", "inprocess", "--workers", "2",
               "--epochs", "1000000", "--checkpoint", tmp_path, "--every", "10"]  # fmt: skip
    with started(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        end = time.monotonic() + patient(60)
        while not any(tmp_path.iterdir()) and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=patient(60))
    assert (process.returncode, out, err) == (130, "", "course-lib: interrupted\n")
