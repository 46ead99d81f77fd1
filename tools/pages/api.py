"""Writes the book's API pages: one per subject, with the modules that belong to it.

To be run (`make api`) after a module was added, renamed or removed, or its first sentence changed.
A test compares what this would write with what is there.
"""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("book/reference")

# Subject -> (title, its modules in the order of reading, without "course_lib."). The first pattern
# that fits a module takes it; a module that none fits is an error.
CORE = {
    "neurons": ("Neurons and automatic differentiation", "neurons autodiff"),
    "weights": ("Weights", "weights"),
    "activations": ("Activations", "activations activation_formulas"),
    "losses": ("Losses", "losses loss_formulas loss_targets"),
    "network": ("Networks and their layers", "network layers dropout chain workspace"),
    "gradcheck": ("Gradient checking", "gradcheck"),
    "optimizers": ("Optimizers and schedules", "optimizers adaptive schedules stepping"),
    "data": ("Data", "data splits toys mnist"),
    "training": ("Training and evaluation", "training evaluation early_stopping progress_bar"),
    "estimators": (
        "Estimators for scikit-learn",
        "estimators estimators_c* estimators_r* estimators_t* estimators_f*",
    ),
    "checkpoints": (
        "Checkpoints",
        "checkpoint checkpoint_folder manifest saved_state atomic",
    ),
    "torch": (
        "The same network in PyTorch",
        "torch_mlp torch_network torch_training torch_twins",
    ),
    "exercises": (
        "Exercises",
        "exercises exercises.exercise exercises.verdict exercises.answers exercises.calling"
        " exercises.grade",
    ),
    "figures": ("Figures", "plotting diagrams figure_style"),
    "tools": ("Names, checks, timing, the doctor", "course_lib registry arrays timing doctor"),
    "cli": ("The command line", "cli cli_*"),
}
PARALLEL = {
    "training": (
        "Parallel training",
        "parallel parallel.training parallel.result parallel.events parallel.errors"
        " parallel.strategy",
    ),
    "data_parallel": (
        "Data parallelism",
        "parallel.data_parallel parallel.virtual_shards parallel.aligned_tree parallel.local_sgd"
        " parallel.parameter_server* parallel.compress* parallel.zero parallel.memory",
    ),
    "model_parallel": (
        "Pipeline, tensor and mesh parallelism",
        "parallel.pipeline* parallel.tensor_parallel* parallel.mesh* parallel.by_rank",
    ),
    "schedules": (
        "Pipeline schedules",
        "parallel.schedules parallel.actions parallel.schedule_faults parallel.simulation"
        " parallel.timeline",
    ),
    "collectives": (
        "Collectives",
        "parallel.comm parallel.collectives parallel.reductions parallel.algorithms"
        " parallel.traffic parallel.sub_comm",
    ),
    "channels": (
        "Channels",
        "parallel.channels parallel.in_process parallel.faults parallel.shared_memory*"
        " parallel.dask_comm parallel.torch_comm parallel.torch_group* parallel.hierarchical"
        " parallel.layered parallel.pipes parallel.processes* parallel.mailbox*",
    ),
    "torch_ddp": ("PyTorch's DDP on Dask", "parallel.torch_ddp*"),
    "sources": ("Data larger than memory", "parallel.sources* parallel.data_plan"),
    "cost": (
        "Cost models",
        "parallel.cost parallel.speedup parallel.alpha_beta* parallel.step_cost parallel.predicted",
    ),
    "search": (
        "Search for hyper-parameters",
        "parallel.search* parallel.spaces parallel.distributions parallel.halving"
        " parallel.brackets parallel.rungs parallel.trials parallel.fit_objective"
        " parallel.thread_pool parallel.dask_pool",
    ),
    "launch": (
        "Launching a gang of ranks",
        "parallel.launch parallel.reserve parallel.rank parallel.watch parallel.outcome"
        " parallel.revive parallel.ask parallel.orphans parallel.cluster* parallel.needs",
    ),
    "recovery": (
        "Failures and restarts",
        "parallel.recovery* parallel.attempts parallel.progress",
    ),
    "replica": (
        "What a rank does",
        "parallel.replica* parallel.prepare parallel.job parallel.local_gradient parallel.noise"
        " parallel.clock parallel.epoch_record parallel.torch_backend",
    ),
}
# The checkers of the single exercises: who reads them has the answers.
_WITHOUT_PAGE = "exercises.chapters*"

# Each thing is documented once, where it is defined, also if another file hands it on in __all__;
# what a class inherits from another of this package, it shows as its own.
_MEMBERS = """
   :members:
   :ignore-module-all:
   :inherited-members: object, BaseException, tuple, dict, Generic"""

_MODULE = """
## `{title}`

```{{eval-rst}}
.. automodule:: {name}{options}
```
"""

_INDEX = """# API reference

Each file of `course_lib` is one concept and opens with one sentence that says what it is about.
The pages are made from the docstrings, so what they say about shapes, formulas and errors is what
`help()` says; the examples in them are run by the tests.
{core}
## Parallel training
{parallel}"""


def modules(package: Path) -> list[tuple[str, str]]:
    """Return (dotted name, first sentence) of the public modules of a package, sorted."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if any(part.startswith("_") for part in parts):
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found.append((".".join(parts), docstring.split("\n\n")[0].replace("\n", " ")))
    return sorted(found)


def subjects(names: list[str], table: dict[str, tuple[str, str]]) -> dict[str, list[str]]:
    """Return the modules of each subject, in the order of the table.

    Examples
    --------
    >>> subjects(["loss", "layer_b", "layer_a"], {"net": ("Networks", "layer_* loss")})
    {'net': ['layer_a', 'layer_b', 'loss']}
    """
    left = sorted(names)
    result = {}
    for subject, (_, patterns) in table.items():
        result[subject] = [n for p in patterns.split() for n in left if fnmatchcase(n, p)]
        left = [n for n in left if n not in result[subject]]
    left = [n for n in left if not fnmatchcase(n, _WITHOUT_PAGE)]
    if left:
        raise ValueError(f"no subject in tools/pages/api.py has the modules {', '.join(left)}")
    return result


def pages(package: Path) -> dict[Path, str]:
    """Return the text of every API page by its path below the root of the project."""
    sentences = {name.removeprefix("course_lib."): line for name, line in modules(package)}
    result, lists = {}, {"core": "", "parallel": ""}
    for group, table in (("core", CORE), ("parallel", PARALLEL)):
        parallel = group == "parallel"
        mine = [name for name in sentences if name.startswith("parallel") == parallel]
        for subject, names in subjects(mine, table).items():
            title = table[subject][0]
            text = f"# {title}\n"
            lists[group] += f"\n{'###' if parallel else '##'} {title}\n"
            for name in names:
                full = name if name == "course_lib" else f"course_lib.{name}"
                # A package only hands on what its files define, and is documented there.
                options = "" if (package.parent / full.replace(".", "/")).is_dir() else _MEMBERS
                text += _MODULE.format(title=name, name=full, options=options)
                lists[group] += f"\n{{py:mod}}`{full}`\n: {sentences[name]}\n"
            page = f"parallel_{subject}" if parallel else subject
            result[REFERENCE / "api" / f"{page}.md"] = text
    result[REFERENCE / "api.md"] = _INDEX.format(**lists)
    return result


def main() -> None:
    """Write the pages, and remove those of subjects that are gone."""
    wanted = pages(ROOT / "course_lib")
    for path in (ROOT / REFERENCE / "api").rglob("*.md"):
        if path.relative_to(ROOT) not in wanted:
            path.unlink()
    for relative, text in wanted.items():
        path = ROOT / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
