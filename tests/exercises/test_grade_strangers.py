"""Grading keeps its head whatever a notebook does: to its questions, its neighbours, its terminal.

What a notebook could do to who grades, one test each; the oracle is what the others get without it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from course_lib.cli import main
from course_lib.cli.output import visible
from course_lib.exercises.grade import _verdicts, grade, grade_all
from tests.interrupts import started
from tests.patience import patient

pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
psutil = pytest.importorskip("psutil")

ELU = """from course_lib import exercises
import numpy as np
right = lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
exercises.check('activations.elu', right)"""
SLEEP = "[sys.executable, '-c', 'import time; time.sleep(300)']"


def _notebook(path: Path, *sources: str) -> Path:
    new = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_code_cell(s) for s in sources]), path)
    return path


GOOD = [True, None, ""], [False, "alpha-ignored", "Where does alpha come in?"]


@pytest.mark.parametrize("said", GOOD)
def test_what_check_writes_is_read(tmp_path: Path, said: list[Any]) -> None:
    (tmp_path / "activations.elu.json").write_text(json.dumps(said))
    assert _verdicts(tmp_path) == {"activations.elu": tuple(said)}


@pytest.mark.parametrize(
    "said",
    ["[1000, null, ''",  "[1000, null, \"\"]", "[1, null, \"\"]", "[null, null, \"\"]", "[]", "7",
     "[true, \"alpha-ignored\", \"\"]", "[false, null, \"\"]", "[false, \"a b\\u001b[2K\", \"\"]",
     "[false, \"wrong\", 3]", "[[], {}, null]", "{\"a\": 1}", "[" * 100_000, "", "\ud800"],
)  # fmt: skip
def test_what_check_never_writes_counts_as_not_there(tmp_path: Path, said: str) -> None:
    """No number of points, no other kind of true, no mistake that is none, no broken file."""
    (tmp_path / "activations.elu.json").write_bytes(said.encode("utf-8", "surrogatepass"))
    (tmp_path / "of.nobody.json").write_text(json.dumps(GOOD[0]))
    (tmp_path / "losses.shapes.json").mkdir()
    (tmp_path / "losses.quantile.json").symlink_to("/dev/zero")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "losses.consistent.json")
    assert _verdicts(tmp_path) == {}


def test_no_verdict_is_worth_more_than_a_point_or_ends_the_grading_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notebook that writes verdicts of its own, one that kills its kernel, and an honest one."""
    forged = """import os, pathlib
pathlib.Path(os.environ['COURSE_LIB_VERDICTS'], 'activations.elu.json').write_text('[1000, 1]')"""
    files = [
        _notebook(tmp_path / "forger.ipynb", ELU, forged),
        _notebook(tmp_path / "killer.ipynb", ELU, "import os; os.kill(os.getpid(), 9)"),
        _notebook(tmp_path / "anna.ipynb", ELU),
    ]
    assert main(["grade", *map(str, files), "--json"]) == 1
    heard = capsys.readouterr()
    assert [one["total"] for one in json.loads(heard.out)] == [0, 1, 1]
    assert "killer.ipynb: the kernel died in cell 2" in heard.err


def test_the_names_of_a_learner_are_left_alone(tmp_path: Path) -> None:
    """What is right in Jupyter is right here: nothing is asked in the notebook's own names."""
    path = _notebook(
        tmp_path / "a.ipynb", ELU,
        "import builtins\njson = {'one': 1.0}\nprint = builtins.print = lambda *a, **k: 1 / 0",
        "exercises.check('activations.elu', 1)",
        "assert json['one'] == 1.0 and '_exercise' not in globals()",
        "del json, print, np\nexercises.check('activations.elu', right)",
        "sys = os = 0; exercises.check('activations.temperature', 1)",
    )  # fmt: skip
    marks = {mark.name: mark for mark in grade(path).marks}
    assert marks["activations.elu"].mistake == "raises-an-error"  # right has no np any more
    assert marks["activations.temperature"].mistake == "not-a-function"


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_that_a_notebook_says_moves_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """Control characters of an error, of its name, of a mistake, and of a file's name are text."""
    bad = "\\x1b[5A\\x1b[2K4 of 4\\r\\x07\\x9b2K\\u202e\\u2028\\x7f\\x00"
    path = _notebook(
        tmp_path / "a\x1b[2K\nb\x07.ipynb", ELU, f"raise Exception('{bad}')",
        f"raise type('{bad[:-4]}', (Exception,), {{}})('x')",
        "from course_lib.exercises import Mistake\ndef f(z, alpha):\n"
        f"    raise Mistake('{bad}', '{bad}')\nexercises.check('activations.elu', f)",
        "import os; os._exit(1)",
    )  # fmt: skip
    assert main(["grade", str(path), *["--json"] * as_json]) == 1
    heard = capsys.readouterr()
    for text in (heard.out, heard.err):
        assert re.sub("[ -~\n]", "", text) == ""
    assert not as_json or json.loads(heard.out)[0]["errors"][0].startswith("cell 2: Exception: ")
    assert as_json or r"cell 2: Exception: \x1b[5A\x1b[2K4 of 4" in heard.out


def test_what_is_seen_stays_as_it_is() -> None:
    """Also letters of other scripts; only what a terminal obeys is written out."""
    assert visible("größer, 数, é, 🙂, a b") == "größer, 数, é, 🙂, a b"
    assert visible("a\tb\nc", keep="\n") == "a\\tb\nc"


def _memory() -> int:
    """The most that this process has ever used, in MB; Linux counts it anew after a 5."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_a_flood_of_output_does_not_fill_the_memory(tmp_path: Path) -> None:
    """500 MB, printed, shown, and said in an error: the verdicts before and after it count."""
    path = _notebook(
        tmp_path / "a.ipynb", ELU, "for _ in range(400):\n    print('x' * 1_000_000)",
        "from IPython.display import display, Markdown\n"
        "for _ in range(100):\n    display(Markdown('x' * 1_000_000))",
        "raise Exception('x' * 1_000_000)", "exercises.check('activations.elu', 1)",
    )  # fmt: skip
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory()
    found = grade(path)
    assert _memory() - before < 150
    assert {m.mistake for m in found.marks} == {"not-a-function", "not-yet"}
    assert len(found.errors) == 1 and max(map(len, found.errors)) < 300


STARTED = {
    "a session of its own": f"p = subprocess.Popen({SLEEP}, start_new_session=True)",
    "deaf": "p = subprocess.Popen([sys.executable, '-c', 'import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)'], start_new_session=True)",
    "an orphan": f"""read, write = os.pipe()
if not os.fork():
    p = subprocess.Popen({SLEEP}, start_new_session=True, env={{}})
    os.write(write, str(p.pid).encode())
    os._exit(0)
p = type('', (), {{'pid': os.read(read, 20).decode()}})""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="only there an orphan comes to the warden")
@pytest.mark.parametrize("end", ["", "os._exit(3)", "os.kill(os.getpid(), 9)"])
@pytest.mark.parametrize("how", STARTED)
def test_no_process_of_a_notebook_outlives_its_grading(tmp_path: Path, how: str, end: str) -> None:
    """Whatever became of its session, its parent and its kernel."""
    note = tmp_path / "pid"
    grade(_notebook(tmp_path / "a.ipynb", ELU, "import os, subprocess, sys\n" + STARTED[how]
                    + f"\nopen({str(note)!r}, 'w').write(str(p.pid))", end))  # fmt: skip
    assert not psutil.pid_exists(int(note.read_text()))


def test_a_notebook_cannot_change_what_its_neighbours_are_graded_by(tmp_path: Path) -> None:
    """All are read before one is run, and none leaves a startup file to the next kernel."""
    spoiled = "raise SystemExit"
    first = _notebook(
        tmp_path / "a.ipynb", ELU,
        "from pathlib import Path\nimport shutil\nPath('b.ipynb').write_text('{}')\n"
        "Path(get_ipython().profile_dir.startup_dir, 'a.py')"
        f".write_text({spoiled!r})\nshutil.rmtree('c')",
    )  # fmt: skip
    (tmp_path / "c").mkdir()
    second = _notebook(tmp_path / "b.ipynb", ELU, ELU)
    _notebook(tmp_path / "c" / "c.ipynb", ELU)
    found = grade_all([first, second, tmp_path / "c" / "c.ipynb", tmp_path / "gone.ipynb"])
    assert [one.total for one in found] == [1, 1, 0, 0]
    assert found[1].errors == () and found[1].stopped is None
    assert found[2].stopped is not None and "kernel failed" in found[2].stopped
    assert found[3].stopped == "there is no such file"


def test_metadata_of_any_kind_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = _notebook(tmp_path / "a.ipynb", ELU)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["exercise"] = [{"a": 1}]
    nbformat.write(notebook, path)
    assert grade(path).total == 1


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_an_interrupt_ends_the_grading_of_all_and_leaves_nothing(
    tmp_path: Path, root: Path
) -> None:
    """Exit code 130 and one word, not a notebook without marks and then the next one."""
    path = _notebook(tmp_path / "a.ipynb", ELU, "open('there', 'w').close()",
                     "import time; time.sleep(300)")  # fmt: skip
    command = [sys.executable, "-m", "course_lib", "grade", path, path]
    with started(command, cwd=root) as process:
        end = time.monotonic() + patient(60)
        while not (tmp_path / "there").exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)
        kernels = psutil.Process(process.pid).children(recursive=True)
        assert kernels
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=patient(60))
    assert (process.returncode, out, err) == (130, "", "course-lib: interrupted\n")
    assert psutil.wait_procs(kernels, timeout=20)[1] == []


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
@pytest.mark.parametrize(("code", "seen"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)])
def test_a_warden_hands_on_how_its_command_ended(tmp_path: Path, code: str, seen: int) -> None:
    """And has ended what that had started."""
    warden = Path(sys.modules["course_lib.exercises.grade"].__file__ or "").with_name("warden.py")
    start = f"import os, subprocess, sys\np = subprocess.Popen({SLEEP}, start_new_session=True)\n"
    start += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n{code}"
    done = subprocess.run([sys.executable, "-P", warden, sys.executable, "-c", start], check=False)
    assert done.returncode == seen
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
@pytest.mark.parametrize("killed", ["the grader", "the warden"])
def test_a_command_ends_with_whoever_watches_it(tmp_path: Path, killed: str) -> None:
    """Killed, neither can do anything about it any more: the system does."""
    from course_lib.exercises import warden

    note = tmp_path / "pid"
    command = [sys.executable, "-c", f"""import os, time
with open({str(note)!r} + "-", "w") as file:
    file.write(str(os.getpid()))
os.rename({str(note)!r} + "-", {str(note)!r})
time.sleep(300)"""]  # fmt: skip
    watched = [sys.executable, "-P", warden.__file__, *command]
    start = f"import subprocess; subprocess.Popen({watched}).wait()"
    grader = subprocess.Popen([sys.executable, "-c", start])
    for _ in range(600):
        if note.exists():
            break
        time.sleep(0.1)
    (middle,) = psutil.Process(grader.pid).children()
    left = [middle, psutil.Process(int(note.read_text()))]
    (grader if killed == "the grader" else middle).kill()
    try:
        assert psutil.wait_procs(left, timeout=20)[1] == []
    finally:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        grader.kill()
        grader.wait()
