"""Every file that names a dependency says the same about it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# What conda-forge calls a package that has another name on PyPI.
_CONDA_NAMES = {"pytorch-cpu": "torch"}


@pytest.fixture(scope="module")
def ranges(root: Path) -> dict[str, Requirement]:
    """The direct dependencies of pyproject.toml, extras included, by name."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    found = [Requirement(line) for lines in lists for line in lines]
    return {canonicalize_name(r.name): r for r in found if r.name != project["name"]}


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    """The exact versions of constraints.txt, by name."""
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_pinned_versions_lie_in_the_ranges(
    ranges: dict[str, Requirement], pins: dict[str, str]
) -> None:
    """Each direct dependency is pinned, and pip would accept the pin."""
    assert set(ranges) <= set(pins)
    wrong = [name for name, r in ranges.items() if not r.specifier.contains(pins[name])]
    assert wrong == []


def test_the_oldest_versions_are_where_the_ranges_begin(
    root: Path, ranges: dict[str, Requirement]
) -> None:
    """Every library that the package itself imports, and nothing that pip would refuse."""
    lines = (root / "constraints-oldest.txt").read_text("utf-8").splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[e] for e in ("data", "plot", "parallel", "torch"))]
    for requirement in (Requirement(line) for lines in lists for line in lines):
        (begin,) = [s.version for s in requirement.specifier if s.operator == ">="]
        assert Version(begin) == Version(oldest[requirement.name])


def test_pins_are_plain_versions(root: Path) -> None:
    """No build tags (+cpu), markers or addresses: the file serves every platform."""
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    pin = re.compile(r"[\w.-]+==[\w.]+")
    assert [line for line in lines if not line.startswith("#") and not pin.fullmatch(line)] == []


def test_no_pinned_package_exists_on_one_platform_only(pins: dict[str, str]) -> None:
    """CUDA packages come with some builds of PyTorch; their versions are that build's business."""
    assert [n for n in pins if re.match(r"nvidia|cuda|triton|pywin", n)] == []


def test_torch_is_the_tested_version(pins: dict[str, str]) -> None:
    """The outputs in the book were made with it."""
    assert pins["torch"] == "2.13.0"


def test_conda_environment_has_the_same_ranges(root: Path, ranges: dict[str, Requirement]) -> None:
    """The two ways to install must not drift apart."""
    listed = yaml.safe_load((root / "environment.yml").read_text("utf-8"))["dependencies"]
    lines = [line for line in listed if isinstance(line, str)]
    lines += [line for entry in listed if isinstance(entry, dict) for line in entry["pip"]]
    found = [Requirement(line) for line in lines if line not in ("pip", "-e .")]
    conda = {_CONDA_NAMES.get(r.name, canonicalize_name(r.name)): r.specifier for r in found}
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert str(conda.pop("python")) == project["requires-python"]
    assert conda == {name: r.specifier for name, r in ranges.items()}


def test_no_file_names_a_package_index(root: Path) -> None:
    """Where packages come from is set up on the machine; a mirror must work unchanged."""
    names = ["pyproject.toml", "environment.yml", "constraints.txt", "Makefile", ".ci/run"]
    hosts = re.compile(r"index-url|find-links|trusted-host|file://|https?://\S*(?:pypi|simple|whl)")
    assert [n for n in names if hosts.search((root / n).read_text("utf-8"))] == []
