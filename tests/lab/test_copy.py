"""The learner's folder: what was typed is never lost, and everything else follows the course."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.lab import copy

NAMES = ("START_HERE.ipynb", "chapters/a.ipynb", "chapters/b.ipynb")


def _notebook(*sources: str, outputs: tuple[Any, ...] = ()) -> bytes:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {},
            "source": source,
            "outputs": list(outputs),
            "execution_count": len(outputs) or None,
        }
        for i, source in enumerate(sources)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook).encode()


def _course(folder: Path, version: int, without: str = "") -> Path:
    """Write what the course has in some version: the last cell of each notebook is another one."""
    place = folder / f"course-{version}"
    for name in NAMES:
        if name != without:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(_notebook("x = 1", f"version = {version}"))
    return place


def _change(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Do something with a notebook as JupyterLab does: read, change, write with its own layout."""
    notebook = json.loads(path.read_bytes())
    change(notebook)
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True), encoding="utf-8")
    return path.read_bytes()


def _type(notebook: dict[str, Any]) -> None:
    notebook["cells"][0]["source"] = "x = 2  # mine"


def _add(notebook: dict[str, Any]) -> None:
    notebook["cells"].append({"cell_type": "markdown", "id": "mine", "metadata": {}, "source": "!"})


def _delete(notebook: dict[str, Any]) -> None:
    del notebook["cells"][0]


def _swap(notebook: dict[str, Any]) -> None:
    notebook["cells"].reverse()


def _make_text(notebook: dict[str, Any]) -> None:
    notebook["cells"][0] = {**notebook["cells"][0], "cell_type": "raw"}


def _run(notebook: dict[str, Any]) -> None:
    """As JupyterLab saves it after all cells were run; it writes a source as a list of lines."""
    for number, cell in enumerate(notebook["cells"], start=1):
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["mine\n"]}]
        cell["execution_count"] = number
        cell["source"] = cell["source"].splitlines(keepends=True)
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.11"}


CHANGES = [_type, _add, _delete, _swap, _make_text]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder into which version 1 was copied."""
    folder = tmp_path / "learning"
    report = copy.update(folder, _course(tmp_path, 1))
    assert report.done == {"new": 3}
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != copy.MANIFEST
    }


def test_a_second_time_changes_nothing(mine: Path, tmp_path: Path) -> None:
    """Not even the dates of the files, so an open notebook is not reported as changed."""
    before = {name: (mine / name).stat().st_mtime_ns for name in NAMES}
    assert copy.update(mine, _course(tmp_path, 1)).done == {"the same": 3}
    assert {name: (mine / name).stat().st_mtime_ns for name in NAMES} == before
    assert set(_files(mine)) == set(NAMES)


def test_what_nobody_touched_follows_the_course(mine: Path, tmp_path: Path) -> None:
    report = copy.update(mine, _course(tmp_path, 2))
    assert report.done == {"refreshed": 3} and report.beside == {}
    assert _files(mine) == _files(_course(tmp_path, 2))


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_kept(mine: Path, tmp_path: Path, change: Any) -> None:
    """Byte for byte; as long as the course has no newer version, nothing is put beside it."""
    typed = _change(mine / NAMES[1], change)
    report = copy.update(mine, _course(tmp_path, 1))
    assert report.done == {"the same": 2, "kept": 1} and report.beside == {}
    assert (mine / NAMES[1]).read_bytes() == typed
    assert set(_files(mine)) == set(NAMES)


@pytest.mark.parametrize("change", CHANGES)
def test_a_newer_version_is_put_beside_once(mine: Path, tmp_path: Path, change: Any) -> None:
    """Who deletes it does not get it again; the next version comes."""
    typed = _change(mine / NAMES[1], change)
    new = "chapters/a (new version).ipynb"
    assert copy.update(mine, _course(tmp_path, 2)).beside == {NAMES[1]: new}
    assert (mine / NAMES[1]).read_bytes() == typed
    assert (mine / new).read_bytes() == (_course(tmp_path, 2) / NAMES[1]).read_bytes()
    assert copy.update(mine, _course(tmp_path, 2)).beside == {}
    (mine / new).unlink()
    assert copy.update(mine, _course(tmp_path, 2)).beside == {}
    assert not (mine / new).exists()
    assert copy.update(mine, _course(tmp_path, 3)).beside == {NAMES[1]: new}
    assert (mine / NAMES[1]).read_bytes() == typed


def test_what_was_typed_in_the_new_version_is_kept_too(mine: Path, tmp_path: Path) -> None:
    """A third version goes beside both."""
    _change(mine / NAMES[1], _type)
    copy.update(mine, _course(tmp_path, 2))
    typed = _change(mine / "chapters/a (new version).ipynb", _add)
    report = copy.update(mine, _course(tmp_path, 3))
    assert report.beside == {NAMES[1]: "chapters/a (new version 2).ipynb"}
    assert (mine / "chapters/a (new version).ipynb").read_bytes() == typed


def test_the_new_version_under_the_old_name_follows_the_course_again(
    mine: Path, tmp_path: Path
) -> None:
    _change(mine / NAMES[1], _type)
    copy.update(mine, _course(tmp_path, 2))
    (mine / "chapters/a (new version).ipynb").replace(mine / NAMES[1])
    assert copy.update(mine, _course(tmp_path, 2)).done == {"the same": 3}
    assert copy.update(mine, _course(tmp_path, 3)).done == {"refreshed": 3}


def test_what_was_run_keeps_its_outputs(mine: Path, tmp_path: Path) -> None:
    """While the course stays as it is the file is not touched; later only in cells that are new."""
    ran = _change(mine / NAMES[1], _run)
    assert copy.update(mine, _course(tmp_path, 1)).done == {"the same": 3}
    assert (mine / NAMES[1]).read_bytes() == ran
    for version in (2, 3):
        report = copy.update(mine, _course(tmp_path, version))
        assert report.done == {"refreshed": 3} and report.beside == {}
        first, last = json.loads((mine / NAMES[1]).read_bytes())["cells"]
        assert first["outputs"][0]["text"] == ["mine\n"] and first["execution_count"] == 1
        assert last["source"] == f"version = {version}" and last["outputs"] == []


def test_new_outputs_of_the_course_reach_what_nobody_touched(mine: Path, tmp_path: Path) -> None:
    """The text is the same, the file is not."""
    course = _course(tmp_path, 1)
    (course / NAMES[1]).write_bytes(_notebook("x = 1", "version = 1", outputs=("new",)))
    assert copy.update(mine, course).done == {"refreshed": 1, "the same": 2}
    assert _files(mine) == _files(course)


def test_what_was_deleted_or_renamed_comes_again(mine: Path, tmp_path: Path) -> None:
    """What has another name now belongs to the learner alone."""
    typed = _change(mine / NAMES[2], _type)
    (mine / NAMES[1]).unlink()
    (mine / NAMES[2]).rename(mine / "chapters" / "my b.ipynb")
    assert copy.update(mine, _course(tmp_path, 2)).done == {"new": 2, "refreshed": 1}
    assert _files(mine) == _files(_course(tmp_path, 2)) | {"chapters/my b.ipynb": typed}


def test_what_the_course_no_longer_has_stays(mine: Path, tmp_path: Path) -> None:
    before = (mine / NAMES[1]).read_bytes()
    assert copy.update(mine, _course(tmp_path, 2, without=NAMES[1])).done == {"refreshed": 2}
    assert (mine / NAMES[1]).read_bytes() == before
    assert copy.update(mine, _course(tmp_path, 3)).done == {"refreshed": 3}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"<<<<<<< mine\n", b'{"cells": [1]}'])
def test_what_is_no_notebook_any_more_is_kept(mine: Path, tmp_path: Path, content: bytes) -> None:
    """It may be half of an evening's work; one that can be opened is put beside it."""
    (mine / NAMES[1]).write_bytes(content)
    report = copy.update(mine, _course(tmp_path, 1))
    assert report.unreadable == [NAMES[1]]
    assert report.beside == {NAMES[1]: "chapters/a (new version).ipynb"}
    assert (mine / NAMES[1]).read_bytes() == content
    assert copy.update(mine, _course(tmp_path, 1)).beside == {}


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"a": {"text": 1, "file": 2}}'])
def test_without_the_manifest_whatever_differs_counts_as_changed(
    mine: Path, tmp_path: Path, content: bytes | None
) -> None:
    """And nothing that is the same as in the course."""
    typed = _change(mine / NAMES[1], _type)
    ran = _change(mine / NAMES[2], _run)
    if content is None:
        (mine / copy.MANIFEST).unlink()
    else:
        (mine / copy.MANIFEST).write_bytes(content)
    report = copy.update(mine, _course(tmp_path, 1))
    assert report.forgot is (content is not None)
    assert report.done == {"the same": 2, "kept": 1}
    assert (mine / NAMES[1]).read_bytes() == typed
    assert (mine / NAMES[2]).read_bytes() == ran
    assert not copy.update(mine, _course(tmp_path, 2)).forgot
    assert (mine / NAMES[1]).read_bytes() == typed


def test_a_protected_notebook_is_kept(mine: Path, tmp_path: Path) -> None:
    """Its owner took the right to write away; so did who put a link in its place."""
    before = (mine / NAMES[1]).read_bytes()
    (mine / NAMES[1]).chmod(0o444)
    (mine / NAMES[2]).rename(tmp_path / "elsewhere.ipynb")
    (mine / NAMES[2]).symlink_to(tmp_path / "elsewhere.ipynb")
    report = copy.update(mine, _course(tmp_path, 2))
    assert report.done == {"refreshed": 1, "kept": 2}
    assert (mine / NAMES[1]).read_bytes() == before
    assert (mine / NAMES[2]).is_symlink() and (mine / NAMES[2]).read_bytes() == before


@pytest.mark.parametrize("failing", range(1, 5))
def test_an_interrupted_copy_loses_nothing(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Stopped before each of its writes, the last of which is the manifest; then again, in full."""
    typed = _change(mine / NAMES[1], _type)
    written: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) >= failing:
            raise KeyboardInterrupt
        real(path, content)

    real = copy.write_bytes
    monkeypatch.setattr(copy, "write_bytes", write)
    with pytest.raises(KeyboardInterrupt):
        copy.update(mine, _course(tmp_path, 2))
    monkeypatch.undo()
    copy.update(mine, _course(tmp_path, 2))
    found, course = _files(mine), _files(_course(tmp_path, 2))
    assert found[NAMES[1]] == typed
    assert all(found[name] == course[name] for name in (NAMES[0], NAMES[2]))
    assert set(found) <= {*NAMES, "chapters/a (new version).ipynb"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error(mine: Path, tmp_path: Path) -> None:
    (mine / "chapters").chmod(0o555)
    with pytest.raises(OSError, match="Permission"):
        copy.update(mine, _course(tmp_path, 2))
    (mine / "chapters").chmod(0o755)


def test_it_says_what_was_done(mine: Path, tmp_path: Path) -> None:
    """In words, with the names of what lies beside."""
    _change(mine / NAMES[1], _type)
    said = copy.words(copy.update(mine, _course(tmp_path, 2)), "learning")
    assert "2 are refreshed, 1 is kept as you changed it" in said
    assert "chapters/a (new version).ipynb" in said
