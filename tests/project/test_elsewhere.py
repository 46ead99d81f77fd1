"""The project opened elsewhere: Binder, a development container, forms for reports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from course_lib import doctor


def _project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def test_binder_gets_torch_for_the_cpu_in_the_ranges_of_the_project(root: Path) -> None:
    """Nothing else comes from conda; Python is one for which the project is made."""
    lists = [
        yaml.safe_load((root / name).read_text("utf-8"))["dependencies"]
        for name in (".binder/environment.yml", "environment.yml")
    ]
    binder, project = ([line for line in found if isinstance(line, str)] for found in lists)
    (python,) = [line for line in binder if line.startswith("python")]
    version = python.partition("=")[2]
    assert f"Programming Language :: Python :: {version}" in _project(root)["classifiers"]
    assert set(binder) - {python} <= set(project)
    assert [line for line in binder if "torch" in line] == ["pytorch-cpu>=2.4,<3"]


@pytest.mark.parametrize("name", [".binder/postBuild", ".devcontainer/create.sh"])
def test_the_scripts_are_shell_and_may_be_run(root: Path, name: str) -> None:
    """They stop at the first error, and name only extras and targets that exist."""
    path = root / name
    text = path.read_text("utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/bin/bash\n") and "set -euo pipefail" in text
    subprocess.run(["bash", "-n", str(path)], check=True)
    extras = re.findall(r"\.\[([\w,]+)\]", text)
    assert {e for one in extras for e in one.split(",")} <= set(
        _project(root)["optional-dependencies"]
    )


def test_the_container_makes_what_make_looks_for(root: Path) -> None:
    """The environment that its script fills is the one that the Makefile takes for complete."""
    config = json.loads((root / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    script = config["onCreateCommand"].removeprefix("bash ")
    text = (root / script).read_text("utf-8")
    makefile = (root / "Makefile").read_text("utf-8")
    assert "VENV   ?= .venv\n" in makefile and "conda env create -y -p .venv" in text
    (touched,) = re.findall(r"^touch (.*)$", text, re.MULTILINE)
    markers = re.findall(r"^(?:BOOK|ALL) +:= \$\(VENV\)/(\S+)$", makefile, re.MULTILINE)
    assert touched.split() == [f".venv/{name}" for name in [".created", *markers]]
    assert 8000 in config["forwardPorts"] and "PORT   ?= 8000\n" in makefile


@pytest.mark.parametrize("name", ["mistake", "question"])
def test_a_form_asks_for_what_a_report_needs(root: Path, name: str) -> None:
    """Each field once; the page is always asked for."""
    form = yaml.safe_load((root / f".github/ISSUE_TEMPLATE/{name}.yml").read_text("utf-8"))
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids)) and ids[0] == "page"
    assert all(field["attributes"]["label"] for field in form["body"])
    if name == "mistake":
        assert ids[1:5] == ["cell", "happened", "expected", "doctor"]
        (asked,) = [field for field in form["body"] if field["id"] == "doctor"]
        assert doctor.__name__ in asked["attributes"]["label"]
