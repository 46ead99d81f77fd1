"""Checkpoints: the same bits, whole or absent after a crash at any point, never trusted blindly."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

from course_lib import checkpoint, manifest
from course_lib.checkpoint import CheckpointError, join_state, latest_valid, load, save, split_state
from course_lib.network import mlp
from course_lib.optimizers import Adam
from tests.patience import patient

DTYPES = ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"]


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_bit_by_bit_with_type_and_shape(tmp_path, dtype):
    rng = np.random.default_rng(0)
    base = (rng.normal(size=(4, 6)) * 50).astype(dtype)
    arrays = {
        "matrix": base,
        "transposed": base.T,
        "strided": base[::2, ::-3],
        "scalar": np.array(base[0, 0]),
        "empty": base[:0],
    }
    back = load(save(tmp_path, step=3, arrays=arrays)).arrays
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
        back[name][...] = 1  # writable: training goes on in place


def test_special_numbers_and_big_endian_arrays_survive(tmp_path):
    special = np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324])
    arrays = {"special": special, "big": np.arange(3, dtype=">f8")}
    back = load(save(tmp_path, step=0, arrays=arrays)).arrays
    assert back["special"].tobytes() == special.tobytes()
    np.testing.assert_array_equal(back["big"], [0, 1, 2])


def test_meta_and_step_come_back(tmp_path):
    meta = {"lr": 0.1, "seed": 2**100, "name": "Ünï", "none": None, "history": {"loss": [1.5, 0.5]}}
    saved = load(save(tmp_path / "new" / "folder", step=12, arrays={}, meta=meta))
    assert (saved.step, saved.arrays, saved.meta) == (12, {}, meta)


def test_keys_that_are_numbers_come_back_as_strings(tmp_path):
    # 9 < 10 but "9" > "10": the manifest's sum must not depend on which of them is sorted.
    meta = {9: "a", 10: "b", "nan": float("nan"), "tuple": (1, 2)}
    back = load(save(tmp_path, step=1, arrays={}, meta=meta)).meta
    assert str(back) == str({"9": "a", "10": "b", "nan": float("nan"), "tuple": [1, 2]})


def test_the_tensor_file_is_plain_safetensors_and_the_manifest_describes_it(tmp_path):
    path = save(tmp_path, step=7, arrays={"w": np.ones((2, 3), np.float32)}, meta={"a": 1})
    said = json.loads(path.read_text())
    assert said["arrays"] == {"w": {"shape": [2, 3], "dtype": "float32"}}
    assert said["version"] == 1 and said["step"] == 7 and said["meta"] == {"a": 1}
    np.testing.assert_array_equal(load_file(tmp_path / said["file"])["w"], np.ones((2, 3)))


def test_training_resumed_from_a_checkpoint_is_bitwise_the_uninterrupted_one(tmp_path):
    rng = np.random.default_rng(1)
    net, adam = mlp([7, 4, 3]), Adam(lr=0.01)
    x, y = rng.normal(size=(20, 7)), rng.integers(0, 3, 20)
    theta = net.init(rng)
    state = adam.init(theta)
    for step in range(1, 11):
        theta, state = adam.step(theta, net.loss_and_grad(theta, x, y)[1], state)
        if step == 6:
            vectors, numbers = split_state(state)
            save(tmp_path, step=6, arrays={"theta": theta, **vectors}, meta={"state": numbers})
    saved = latest_valid(tmp_path)
    resumed, state = saved.arrays["theta"], join_state(saved.arrays, saved.meta["state"])
    assert type(state["t"]) is int
    for _ in range(saved.step, 10):
        resumed, state = adam.step(resumed, net.loss_and_grad(resumed, x, y)[1], state)
    np.testing.assert_array_equal(resumed, theta)


def test_only_the_newest_are_kept_and_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "step-notes.json").write_text("mine")
    for step in (1, 2, 10, 9, 100_000_000):
        save(tmp_path, step=step, arrays={"a": np.full(2, step)}, keep=2)
    steps = [name.split("-")[1].partition(".")[0] for name in _names(tmp_path)]
    assert sorted(steps) == ["00000010"] * 2 + ["100000000"] * 2 + ["notes"]
    assert latest_valid(tmp_path).arrays["a"].tolist() == [100_000_000] * 2


def test_the_checkpoint_just_saved_is_never_deleted(tmp_path):
    for step in (5, 6, 7):
        save(tmp_path, step=step, arrays={"a": np.zeros(1)})
    path = save(tmp_path, step=1, arrays={"a": np.ones(1)}, keep=1)
    assert load(path).arrays["a"] == 1


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, step=1, arrays={"a": np.zeros(2)})
    save(tmp_path, step=1, arrays={"a": np.ones(2)})
    assert latest_valid(tmp_path).arrays["a"].tolist() == [1, 1]
    assert len(_names(tmp_path)) == 2


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_files_have_the_permissions_of_any_other_file(tmp_path):
    (tmp_path / "other").touch()
    path = save(tmp_path, step=1, arrays={"a": np.zeros(2)})
    mode = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def _tensors(path):
    return path.parent / json.loads(path.read_text())["file"]


def _flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("position", [0, 9, 100, -1])
def test_a_flipped_bit_in_the_arrays_is_found(tmp_path, position):
    path = save(tmp_path, step=1, arrays={"a": np.arange(100.0)})
    _flip(_tensors(path), position)
    with pytest.raises(CheckpointError, match=r"safetensors was changed or damaged: its SHA-256"):
        load(path)


def test_a_flipped_bit_anywhere_in_the_manifest_is_found(tmp_path):
    path = save(tmp_path, step=1, arrays={"a": np.arange(3.0)}, meta={"t": 5})
    content = path.read_bytes()
    before = load(path)
    for position, byte in enumerate(content):
        path.write_bytes(content[:position] + bytes([byte ^ 1]) + content[position + 1 :])
        try:
            after = load(path)
        except CheckpointError:
            continue
        # Only white space may change unnoticed: the meaning is the same.
        assert (after.step, after.meta) == (before.step, before.meta)


def test_missing_and_foreign_files_get_a_sentence(tmp_path):
    path = save(tmp_path, step=1, arrays={"a": np.arange(3.0)})
    with pytest.raises(CheckpointError, match=r"step-9\.json does not exist; save writes it last"):
        load(tmp_path / "step-9.json")
    for text in ("", "[]", "{}", "7", "\x00\xff"):
        (tmp_path / "other.json").write_text(text, encoding="latin-1")
        with pytest.raises(CheckpointError, match=r"other.json is not the manifest of a check"):
            load(tmp_path / "other.json")
    _tensors(path).unlink()
    with pytest.raises(CheckpointError, match=r"is missing, but step-00000001.json names it"):
        load(path)


def test_a_manifest_of_another_version_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "VERSION", 2)
    path = save(tmp_path, step=1, arrays={})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format version 2, this program reads 1; load"):
        load(path)


def test_a_file_that_is_not_safetensors_is_refused_even_with_the_right_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.safetensors, "save", lambda arrays: b"nonsense")
    path = save(tmp_path, step=1, arrays={})
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load(path)


def test_the_newest_whole_one_is_found_and_each_other_is_warned_of(tmp_path):
    paths = [save(tmp_path, step=s, arrays={"a": np.full(9, s)}, keep=9) for s in (1, 2, 3, 4)]
    _flip(_tensors(paths[3]), -1)
    paths[2].unlink()  # arrays without a manifest: an interrupted save
    with pytest.warns(RuntimeWarning) as caught:
        assert latest_valid(str(tmp_path)).step == 2
    said = [str(w.message) for w in caught]
    assert len(said) == 2
    assert "skipping step 4" in said[0] and "SHA-256" in said[0]
    assert "skipping step 3" in said[1] and "does not exist" in said[1]
    assert {w.filename for w in caught} == {__file__}


def test_no_checkpoint_is_none_without_a_warning(tmp_path):
    assert latest_valid(tmp_path) is None
    assert latest_valid(tmp_path / "never made") is None


# Saves step 1, then in a fresh process for each k saves step 2 and dies at the k-th operation on
# the disk (fsync, rename, second name or delete), without any clean-up, as if killed.
CRASH = """
    import os, sys
    import numpy as np
    from course_lib import checkpoint, manifest
    folder, k = sys.argv[1], 0
    while True:
        k += 1
        run = os.path.join(folder, str(k))
        checkpoint.save(run, step=1, arrays={"a": np.full(1000, 1.0)})
        child = os.fork()
        if child == 0:
            left = [k]
            def counted(call):
                def wrapper(*args, **kw):
                    left[0] -= 1
                    if left[0] == 0:
                        os._exit(9)
                    return call(*args, **kw)
                return wrapper
            for name in ("fsync", "replace", "link", "unlink"):
                setattr(os, name, counted(getattr(os, name)))
            checkpoint.save(run, step=2, arrays={"a": np.full(1000, 2.0)}, keep=1)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
    print(k)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_crash_at_any_operation_leaves_the_old_or_the_new_checkpoint_whole(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(CRASH), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(60))
    assert done.returncode == 0, done.stderr
    found = []
    for k in range(1, int(done.stdout) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            saved = latest_valid(tmp_path / str(k))
        assert np.all(saved.arrays["a"] == saved.step)
        found.append(saved.step)
        save(tmp_path / str(k), step=3, arrays={"a": np.zeros(1)}, keep=1)
        assert len(_names(tmp_path / str(k))) == 2  # whatever the crash left is gone
    # The new one counts from the rename of its manifest on: two fsyncs and a rename for the
    # arrays, one fsync for the manifest, then its name, the fifth operation.
    assert found[:5] == [1] * 5
    assert set(found[5:]) == {2}


def test_a_full_disk_leaves_everything_as_it_was(tmp_path, monkeypatch):
    save(tmp_path, step=1, arrays={"a": np.zeros(2)})
    before = _names(tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CheckpointError, match=r"step 2 could not .* to .*\(No space left.*make room"
    ) as e:
        save(tmp_path, step=2, arrays={"a": np.ones(2)})
    assert str(tmp_path) in str(e.value)
    assert _names(tmp_path) == before


def test_nothing_is_ever_unpickled():
    # An array of objects could only be saved by pickle.
    with pytest.raises(TypeError, match=r"arrays\['a'\] must be a NumPy array of numbers, got ob"):
        save("unused", step=1, arrays={"a": np.array([{}], dtype=object)})


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="save: step must be an integer of at least 0, got -1"):
        save(folder, step=-1, arrays={})
    with pytest.raises(ValueError, match="save: keep must be an integer of at least 1, got 0"):
        save(folder, step=1, arrays={}, keep=0)
    with pytest.raises(
        TypeError, match=r"arrays\['x'\] must be a NumPy array of .* got complex128"
    ):
        save(folder, step=1, arrays={"x": np.zeros(2, complex)})
    with pytest.raises(TypeError, match=r"arrays\['t'\] must be a NumPy array of numbers, got int"):
        save(folder, step=1, arrays={"t": 3})
    with pytest.raises(TypeError, match="meta must hold only what JSON can say"):
        save(folder, step=1, arrays={}, meta={"f": np.float32(1)})
    assert not folder.exists()


def test_what_is_loaded_can_be_written_to_whatever_the_library_hands_on(tmp_path, monkeypatch):
    """Some versions of safetensors give read-only views of the file."""
    path, original = save(tmp_path, step=1, arrays={"a": np.ones(3)}), checkpoint.safetensors.load

    def read_only(raw):
        arrays = original(raw)
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    monkeypatch.setattr(checkpoint.safetensors, "load", read_only)
    found = load(path).arrays["a"]
    found += 1
    assert found.tolist() == [2, 2, 2]
