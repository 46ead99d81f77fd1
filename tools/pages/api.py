"""Writes the book's API pages: one per folder of the package, and for the core one per subject.

To be run (`make api`) after a module was added, renamed or removed, or its first sentence changed.
A test compares what this would write with what is there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("book/reference")

# Subjects of the core: the title, and the files in the order of reading, without "course_lib.".
CORE = {
    "neurons": ("Neurons and automatic differentiation", "neurons autodiff"),
    "weights": ("Weights", "weights"),
    "activations": ("Activations", "activations"),
    "losses": ("Losses", "losses row_losses targets"),
    "network": ("Networks and their layers", "network layers chain workspace"),
    "gradcheck": ("Gradient checking", "gradcheck"),
    "optimizers": ("Optimizers and schedules", "optimizers descent schedules"),
    "data": ("Data", "data toys mnist"),
    "training": ("Training and evaluation", "training evaluation early_stopping clipping"),
    "checkpoints": ("Checkpoints", "checkpoint manifest atomic model_file"),
    "figures": ("Figures", "plotting"),
    "tools": (
        "Names, checks, timing, the doctor",
        "course_lib registry arrays paths needs timing doctor",
    ),
}
# Folders, in the order of reading; the files of each are found by themselves.
FOLDERS = {
    "estimators": "Estimators for scikit-learn",
    "torch_mlp": "The same network in PyTorch",
    "exercises": "Exercises",
    "cli": "The command line",
}
PARALLEL = {
    "parallel": "Parallel training: the package",
    "parallel.training": "Training on several ranks",
    "parallel.strategies": "Strategies",
    "parallel.schedules": "Pipeline schedules",
    "parallel.comm": "Communicators",
    "parallel.collectives": "Collectives",
    "parallel.channels": "Channels",
    "parallel.launch": "Launching, watching and restarting ranks",
    "parallel.sources": "Data larger than memory",
    "parallel.cost": "Cost models",
    "parallel.search": "Search for hyper-parameters",
    "parallel.torch_ddp": "PyTorch's DDP on Dask",
}
# The checkers of the single exercises: who reads them has the answers.
_WITHOUT_PAGE = "exercises.chapters"

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

Each folder of `course_lib` is a subject, each file a concept that opens with one sentence about it.
The pages are made from the docstrings, so what they say about shapes, formulas and errors is what
`help()` says; the examples in them are run by the tests.
{core}
## Parallel training
{parallel}"""


def modules(package: Path) -> dict[str, str]:
    """Return the first sentence of each public module by its dotted name; a folder stands first.

    As Markdown, which writes a formula in another way than a docstring does.
    """
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if not any(part.startswith("_") for part in parts):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            sentence = docstring.split("\n\n")[0].replace("\n", " ")
            found[".".join(parts)] = re.sub(r":math:`([^`]+)`", r"$\1$", sentence)
    return dict(sorted(found.items()))


def subjects(names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Return the title and the modules of each page, by its name, in the order of the tables.

    Raises
    ------
    ValueError
        If a module has no place in the tables, or a table names one that is gone.
    """
    result = {page: (title, files.split()) for page, (title, files) in CORE.items()}
    for folder, title in {**FOLDERS, **PARALLEL}.items():
        mine = [n for n in names if n == folder or n.rpartition(".")[0] == folder]
        if folder == "parallel":  # its folders have pages of their own
            mine = [n for n in mine if n not in PARALLEL or n == folder]
        result[folder.replace(".", "_")] = (title, mine)
    listed = [name for _, files in result.values() for name in files]
    if sorted(listed) != sorted(names):
        odd = sorted(set(listed) ^ set(names))
        raise ValueError(f"tools/pages/api.py and the package do not agree about {', '.join(odd)}")
    return result


def pages(package: Path) -> dict[Path, str]:
    """Return the text of every API page by its path below the root of the project."""
    sentences = {n.removeprefix(f"{package.name}."): line for n, line in modules(package).items()}
    with_page = [name for name in sentences if not name.startswith(_WITHOUT_PAGE)]
    result, lists = {}, {"core": "", "parallel": ""}
    for page, (title, names) in subjects(with_page).items():
        parallel = page.startswith("parallel")
        text, listed = f"# {title}\n", f"\n{'###' if parallel else '##'} {title}\n"
        for name in names:
            full = name if name == package.name else f"{package.name}.{name}"
            # A package only hands on what its files define, and is documented there.
            face = (package.parent / full.replace(".", "/")).is_dir()
            text += _MODULE.format(title=name, name=full, options="" if face else _MEMBERS)
            listed += f"\n{{py:mod}}`{full}`\n: {sentences[name]}\n"
        lists["parallel" if parallel else "core"] += listed
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
