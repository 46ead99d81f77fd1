"""Whatever is wrong with a checkpoint, load says so in a sentence, and latest_valid goes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_lib.checkpoint import CheckpointError, latest_valid, load, prepare, save

ARRAYS = {"a": np.arange(5.0), "b": np.ones((2, 3), np.float32)}
META = {"t": 5, "losses": [0.5, 1.5]}


def seal(facts):
    """Write a manifest with the right sum, as somebody could who knows the format."""
    facts = {k: v for k, v in facts.items() if k != "manifest_sha256"}
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return json.dumps({**facts, "manifest_sha256": total}).encode()


@pytest.fixture
def run(tmp_path):
    """Return the manifest of step 2; step 1 lies beside it."""
    save(tmp_path / "run", step=1, arrays=ARRAYS, meta=META)
    return save(tmp_path / "run", step=2, arrays=ARRAYS, meta=META)


def facts(path):
    return json.loads(path.read_bytes())


def tensors(path):
    return path.parent / facts(path)["file"]


def assert_refused(path, match="step-"):
    """Step 2 is refused by a sentence with its path, and step 1 taken, with one warning."""
    with pytest.raises(CheckpointError, match=match) as e:
        load(path)
    assert str(path.parent) in str(e.value)
    with pytest.warns(RuntimeWarning, match="skipping step 2: ") as caught:
        found = latest_valid(path.parent)
    assert len(caught) == 1
    assert found.step == 1
    assert found.meta == META
    assert all(np.array_equal(found.arrays[name], array) for name, array in ARRAYS.items())


DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=9)),
)


def damaged(content, damage):
    kind, place, what = damage
    at = int(place * (len(content) - 1))
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ what]) + content[at + 1 :]
    if kind == "cut":
        return content[:at] + content[at + 1 + int(what * (len(content) - at)) :]
    return content[:at] + what + content[at:]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.sampled_from(["manifest", "arrays"]), damage=DAMAGE)
def test_bytes_that_are_changed_cut_or_inserted_are_found(run, which, damage):
    file = run if which == "manifest" else tensors(run)
    content = file.read_bytes()
    try:
        file.write_bytes(damaged(content, damage))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = latest_valid(run.parent)
        if found.step == 2:  # white space in JSON, which says nothing
            assert which == "manifest"
            assert json.loads(file.read_bytes()) == json.loads(content)
        else:
            assert_refused(run)
    finally:
        file.write_bytes(content)


JSON = [None, True, 0, 1, 7, -1, 1.0, 2.5, 10**40, "", "x", "/etc/passwd", [], [1], {}, {"a": 1}]
FIELDS = ["format", "version", "step", "file", "sha256", "arrays", "meta"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_or_of_another_kind_is_found_though_the_sum_is_right(run, field):
    said = facts(run)
    run.write_bytes(seal({k: v for k, v in said.items() if k != field}))
    assert_refused(run)
    for value in JSON:
        if value == said[field] and type(value) is type(said[field]):
            continue
        if field == "meta" and isinstance(value, dict):
            continue  # any facts are facts
        run.write_bytes(seal({**said, field: value}))
        assert_refused(run)


@pytest.mark.parametrize("change", ["name", "shape", "dtype", "one less", "one more"])
def test_arrays_that_are_not_those_of_the_list_are_found(run, change):
    said = facts(run)
    listed = said["arrays"]
    if change == "name":
        listed["c"] = listed.pop("a")
    elif change == "shape":
        listed["b"]["shape"] = [3, 2]
    elif change == "dtype":
        listed["b"]["dtype"] = "float64"
    elif change == "one less":
        del listed["b"]
    else:
        listed["c"] = listed["a"]
    run.write_bytes(seal(said))
    assert_refused(run, "does not hold the arrays")


def put_header(path, header, body):
    """Put other content in place of the arrays, with all sums right."""
    said = facts(path)
    tensors(path).unlink()
    raw = struct.pack("<Q", len(header)) + header + body
    digest = hashlib.sha256(raw).hexdigest()
    said |= {"sha256": digest, "file": f"step-00000002-{digest[:16]}.safetensors"}
    (path.parent / said["file"]).write_bytes(raw)
    path.write_bytes(seal(said))


HEADERS = {
    "a type that NumPy lacks": (
        json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode(),
        b"0000",
    ),
    "deep": (b"[" * 100_000, b""),
    "no JSON": (b"nonsense", b""),
    "too short": (
        json.dumps({"a": {"dtype": "F64", "shape": [99], "data_offsets": [0, 792]}}).encode(),
        b"0",
    ),
    "negative": (
        json.dumps({"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}).encode(),
        b"0" * 8,
    ),
    "no text": (b"\xff\xfe", b""),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_arrays_in_a_form_that_save_never_writes_are_found(run, kind):
    put_header(run, *HEADERS[kind])
    assert_refused(run, "is not a safetensors file|does not hold the arrays")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"NaN", b"\xff"])
def test_json_that_cannot_be_read_is_found(run, text):
    run.write_bytes(text)
    assert_refused(run, "is not the manifest of a checkpoint")


@pytest.mark.parametrize("which", ["manifest", "arrays"])
@pytest.mark.parametrize("kind", ["nothing", "folder", "link", "dangling", "pipe", "device"])
def test_something_else_in_place_of_a_file_is_passed_over(run, tmp_path, which, kind):
    file = run if which == "manifest" else tensors(run)
    if kind == "link":
        shutil.copy(file, tmp_path / "elsewhere")
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)  # who opens it would wait for ever
    elif kind != "nothing":
        to = {"link": tmp_path / "elsewhere", "dangling": "gone", "device": "/dev/zero"}[kind]
        file.symlink_to(to)
    expected = "is missing|does not exist" if kind == "nothing" else "is not an ordinary file"
    assert_refused(run, expected)


@pytest.mark.parametrize("which", ["manifest", "arrays"])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "I/O err")])
def test_a_file_that_cannot_be_read_is_passed_over(run, monkeypatch, which, error):
    file, read = (run if which == "manifest" else tensors(run)), Path.read_bytes

    def fail(path):
        if path == file:
            raise error
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert_refused(run, f"{file.name} cannot be read .{error.strerror}")


@pytest.mark.parametrize("to", ["../other/{}", "{here}/../other/{}", "./{}", "sub/../{}"])
def test_a_manifest_never_leads_to_another_folder(run, tmp_path, to):
    other = tmp_path / "other"
    (run.parent / "sub").mkdir()
    shutil.copytree(run.parent, other)
    said = facts(run)
    said["file"] = to.format(said["file"], here=run.parent)
    assert (run.parent / said["file"]).is_file()
    run.write_bytes(seal(said))
    assert_refused(run, "do not belong together")


def test_an_older_manifest_under_a_newer_name_is_no_newer_checkpoint(run):
    first = run.with_name("step-00000001.json")
    run.write_bytes(first.read_bytes())
    assert_refused(run, r"is the manifest of step 1, whose name is step-00000001\.json")
    with pytest.raises(CheckpointError, match="it was renamed"):
        load(shutil.copy(first, run.with_name("best.json")))


def test_a_step_below_zero_is_none(run):
    said = facts(run)
    name = said["file"].replace("step-00000002", "step--0000001")
    shutil.copy(tensors(run), run.with_name(name))
    path = run.with_name("step--0000001.json")
    path.write_bytes(seal({**said, "step": -1, "file": name}))
    with pytest.raises(CheckpointError, match="do not belong together"):
        load(path)


def test_files_that_are_called_almost_as_ours_are_left_alone(run):
    strange = [
        "step-000000003.json", "step-٠٠٠٠٠٠٠٣.json", "step-00000003.json.bak", "step-3.json",
        "step-00000003.safetensors", "Step-00000003.json",
    ]  # fmt: skip
    for name in strange:
        (run.parent / name).write_text("mine")
    assert latest_valid(run.parent).step == 2  # without a warning
    save(run.parent, step=4, arrays=ARRAYS, keep=1)
    assert all((run.parent / name).read_text() == "mine" for name in strange)


def test_a_folder_that_is_none_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=r"file.* cannot be read as a folder of checkpo"):
            latest_valid(place)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_folder_on_a_full_disk_is_told_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: open("/dev/full", "wb"))
    with pytest.raises(
        CheckpointError, match=r"written to .* \(No space left on device\)\. Give an"
    ):
        prepare(tmp_path)


def test_a_folder_in_place_of_an_old_checkpoint_does_not_stop_the_saving(run):
    first = run.with_name("step-00000001.json")
    first.unlink()
    first.mkdir()
    path = save(run.parent, step=3, arrays=ARRAYS, keep=1)
    assert load(path).step == 3
    assert not run.exists()
