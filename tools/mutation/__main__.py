"""Plants bugs into the package and runs its tests: ``python -m tools.mutation --help``."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from . import places, trial

SESSION = trial.ROOT / "build" / "mutation.json"
# What holds for all files.
EVERYWHERE = "tests/project/test_everywhere.py"
# Files of the core that are tested with another one.
WITH = {
    "chain": "network", "early_stopping": "training", "evaluation": "training",
    "layers": "network", "manifest": "checkpoint",
    "registry": "activations", "workspace": "network",
}  # fmt: skip
# What reads notebooks on the command line is tested with the exercises that stand in them.
_NOTEBOOKS = [
    "tests/cli", *(f"tests/exercises/test_{name}.py" for name in (
        "grade", "grade_strangers", "progress")),
]  # fmt: skip
# What is asked of a training's arguments is asked of all doors, and of every kind of data.
_TRAINING = [
    "tests/parallel/training",
    "tests/parallel/test_parallel_doors.py",
    "tests/parallel/sources/test_kinds_of_data.py",
]
# Where a file of the package has tests of its subject, if not in the folder of the same name.
OTHER = {
    "course_lib/cli/grade.py": _NOTEBOOKS,
    "course_lib/cli/progress.py": _NOTEBOOKS,
    "course_lib/exercises/warden.py": ["tests/exercises/test_grade_strangers.py"],
    "course_lib/parallel/training/driver.py": _TRAINING,
    "course_lib/parallel/training/predicted.py": _TRAINING,
    "course_lib/parallel/training/prepare.py": _TRAINING,
    "course_lib/doctor.py": ["tests/project/test_doctor.py"],
    "course_lib/needs.py": [
        "tests/parallel/training/test_needs.py",
        "tests/project/test_package.py",
    ],
    "course_lib/data.py": ["tests/core/test_data.py", "tests/core/test_mnist.py"],
    "course_lib/paths.py": [
        "tests/core/test_checkpoint.py",
        "tests/parallel/training/test_checkpoint_trouble.py",
    ],
    "course_lib/__init__.py": ["tests/project/test_package.py"],
    "course_lib/parallel/__init__.py": [
        "tests/parallel/training/test_needs.py",
        "tests/project/test_package.py",
    ],
    "course_lib/parallel/clock.py": ["tests/parallel/strategies"],
    "course_lib/parallel/strategies/job.py": [
        "tests/parallel/strategies",
        "tests/parallel/training/test_describe.py",
    ],
    "course_lib/parallel/collectives/aligned_tree.py": [
        "tests/parallel/collectives",
        "tests/parallel/strategies/test_virtual_shards.py",
        "tests/parallel/strategies/test_clock.py",
    ],
    "course_lib/parallel/launch/processes.py": [
        "tests/parallel/comm/test_comm.py",
        "tests/parallel/channels/test_shared_memory.py",
        "tests/parallel/launch/test_processes_launch.py",
        "tests/parallel/launch/test_processes_watch.py",
    ],
    "course_lib/parallel/channels/torch_comm.py": [
        "tests/parallel/channels/test_torch_comm.py",
        "tests/parallel/channels/test_torch_comm_parts.py",
        "tests/parallel/channels/test_listening.py",
    ],
    "course_lib/parallel/errors.py": ["tests/parallel/comm", "tests/parallel/collectives"],
    "course_lib/parallel/doors.py": ["tests/parallel/test_parallel_doors.py"],
    "course_lib/parallel/faults.py": ["tests/parallel/comm"],
    "course_lib/parallel/fingerprints.py": ["tests/parallel/test_fingerprints.py"],
}


def tests_of(file: str) -> list[str]:
    """Return the tests of the subject of a file."""
    if file in OTHER:
        return [*OTHER[file], EVERYWHERE]
    folder = Path(file).relative_to("course_lib").parent
    if folder.parts == ("exercises", "chapters"):
        return ["tests/exercises/test_wrong_answers.py", "tests/exercises/test_exercises.py"]
    if folder.parts:
        return ["/".join(("tests", *folder.parts)), EVERYWHERE]
    name = Path(file).stem
    own = sorted((trial.ROOT / "tests" / "core").glob(f"test_{WITH.get(name, name)}*.py"))
    return [*(f"tests/core/{path.name}" for path in own), "tests/core/test_doors.py", EVERYWHERE]


def files(wanted: list[str]) -> list[str]:
    """Return the files of the package that these are or hold, those without a function left out."""
    found = set()
    for path in map(Path, wanted or ["course_lib"]):
        found |= set((trial.ROOT / path).rglob("*.py")) or {trial.ROOT / path}
    with_code = (f for f in found if "def " in f.read_text("utf-8"))
    return sorted(f.relative_to(trial.ROOT).as_posix() for f in with_code)


def subject(
    folder: Path, tests: list[str], members: list[str], only: str
) -> tuple[dict[str, float], Any]:
    """Run the tests of a subject without a bug: how long each takes, and which lines it runs."""
    from coverage import CoverageData

    where = folder / ".coverage-of-subject"
    where.unlink(missing_ok=True)
    doctests = [m for m in members if ">>>" in (folder / m).read_text("utf-8")]
    code, failed, seconds = trial.run(
        folder, [*tests, *doctests, "-k", only], {}, limit=1200.0, cover=where
    )
    if not seconds:
        said = (folder / "trial.log").read_text("utf-8")
        raise SystemExit(f"{tests}: no test ran (code {code}): {said[-2000:]}")
    for name in failed:
        print("  fails, or is skipped, without a bug:", name, flush=True)
    data = CoverageData(str(where))
    data.read()
    order = {n: s for n, s in sorted(seconds.items(), key=lambda x: x[1]) if n not in failed}
    return order, data


def those_that_run(order: dict[str, float], data: Any, file: Path, line: int) -> dict[str, float]:
    """Return the tests that run the function of this line themselves, quick ones first."""
    within = range(line, line + 1)
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            within = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
    names = data.contexts_by_lineno(str(file))
    run = {name for number in within for name in names.get(number, ())}
    return {n: seconds for n, seconds in order.items() if n in run}


def main() -> None:
    """Try mutants of the files or folders given, and write what became of each."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=main.__doc__)
    parser.add_argument("files", nargs="*", help="files or folders; without any, the package")
    parser.add_argument("--n", type=int, help="how many mutants of each file; without it, all")
    parser.add_argument("--seed", default="0", help="of the draw")
    parser.add_argument(
        "--only",
        default="",
        help="which tests, as pytest's -k, and no others than those that run the line; quick, and "
        "to be followed by --again",
    )
    parser.add_argument(
        "--limit", type=float, default=trial.LIMIT,
        help="seconds for the tests that run the line, and as many for the others; quick ones come "
        "first, so more lets more of those run that start clusters",
    )  # fmt: skip
    parser.add_argument("--again", action="store_true", help="only those that survived before")
    parser.add_argument("--session", type=Path, default=SESSION, help="where the results are kept")
    given = parser.parse_args()
    session = json.loads(given.session.read_text("utf-8")) if given.session.exists() else {}
    given.session.parent.mkdir(parents=True, exist_ok=True)
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=trial.ROOT, capture_output=True, text=True, check=True).stdout
    trial.warm()
    with tempfile.TemporaryDirectory(prefix="mutants-of-the-course-") as name:
        folder = Path(name)
        trial.copy(folder)
        by_tests: dict[tuple[str, ...], list[str]] = {}
        for file in files(given.files):
            by_tests.setdefault(tuple(tests_of(file)), []).append(file)
        for tests, members in by_tests.items():
            todo = {f: _chosen(folder / f, f, session, given) for f in members}
            if not any(todo.values()):
                continue
            order, data = subject(folder, list(tests), members, given.only)
            print(f"{' '.join(tests)}: {len(order)} tests, {sum(order.values()):.0f} s", flush=True)
            for file, mutants in todo.items():
                for mutant in mutants:
                    _try(folder, file, mutant, (order, data, given), session)
                    session[file]["commit"] = commit.strip()
                    given.session.write_text(json.dumps(session, indent=0), "utf-8")


def _chosen(path: Path, file: str, session: Any, given: Any) -> list[places.Mutant]:
    """Draw the mutants of a file, without those that have been tried; or return the survivors."""
    entry = session.setdefault(file, {"mutants": []})
    source = path.read_text("utf-8")
    if given.again:
        found = {}
        for tried in [m for m in entry["mutants"] if m["outcome"] == "survived"]:
            mutant = places.again(source, tried)
            if mutant is None or mutant in found:  # the line has gone
                entry["mutants"].remove(tried)
            else:
                found[mutant] = tried
                tried.update(mutant._asdict())
        return list(found)
    known = {(m["operator"], m["occurrence"]) for m in entry["mutants"]}
    seed = f"{given.seed}:{file}"
    entry["places"], drawn = places.mutants(source, given.n, seed)
    return [m for m in drawn if (m.operator, m.occurrence) not in known]


def _files_of(tests: dict[str, float]) -> list[str]:
    return list(dict.fromkeys(name.partition("::")[0] for name in tests))


def _try(folder: Path, file: str, mutant: places.Mutant, with_: Any, session: Any) -> None:
    order, data, given = with_
    path = folder / file
    source = path.read_text("utf-8")
    start = time.monotonic()
    first = those_that_run(order, data, path, mutant.line)
    others = {name: seconds for name, seconds in order.items() if name not in first}
    path.write_text(places.mutate(source, mutant), "utf-8")
    try:
        code, failed = 0, list[str]()
        for part in filter(None, (first, {} if first and given.only else others)):
            if code == 0:
                code, failed, _ = trial.run(folder, _files_of(part), part, limit=given.limit)
    finally:
        path.write_text(source, "utf-8")
    outcome = "survived" if code == 0 else "killed"
    by = failed[0] if failed else f"exit code {code}" if code else ""
    spent = round(time.monotonic() - start, 1)
    print(f"  {outcome} {file}:{mutant.line} {mutant.before!r} -> {mutant.after!r} {spent} s {by}",
          flush=True)  # fmt: skip
    tried = {(m["operator"], m["occurrence"]): m for m in session[file]["mutants"]}
    key = mutant.operator, mutant.occurrence
    at_first = tried[key]["first"] if key in tried else outcome
    tried[key] = mutant._asdict() | {"outcome": outcome, "first": at_first, "by": by}
    session[file]["mutants"] = sorted(tried.values(), key=lambda m: (m["line"], m["operator"]))


if __name__ == "__main__":
    main()
