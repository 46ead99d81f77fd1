"""Atomic writing: a reader that looks all the time never sees a part of a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from course_lib.atomic import write_bytes


def test_a_reader_sees_the_old_or_the_new_file_never_a_mixture(tmp_path):
    path = tmp_path / "file"
    contents = {letter * 100_000 for letter in (b"a", b"b")}
    write_bytes(path, b"a" * 100_000)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(2000):
        write_bytes(path, sorted(contents)[i % 2])
        if i >= 40 and seen >= contents:
            break
    stop.set()
    reader.join()
    assert seen == contents  # both of them, or nobody would have looked
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_many_writers_leave_one_of_their_files_whole(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([i]) * 50_000 for i in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(path, c)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_is_the_callers_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "file", b"")


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_that_shall_not_be_replaced_is_not(tmp_path, monkeypatch, links):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    if not links:  # as on a memory stick
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "file"
    write_bytes(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        write_bytes(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_of_many_writers_that_replace_nothing_one_succeeds(tmp_path):
    path, ended = tmp_path / "file", []

    def write(content):
        try:
            write_bytes(path, content, replace=False)
            ended.append(content)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=write, args=(bytes([i]) * 50_000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [path.read_bytes()]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_first_error_is_told_also_where_nothing_can_be_deleted(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    def read_only(path, missing_ok=False):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "file", b"")
