"""MNIST: small IDX files written here, byte by byte, stand for the real ones; no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest

from course_lib import data, mnist


def _idx(values):
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


@pytest.fixture
def originals(monkeypatch):
    """Six training and three test images of 4 x 5 pixels, declared to be the original files."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape, np.uint8) for shape in ((6, 4, 5), (6,), (3, 4, 5), (3,))]
    arrays[0][0, 0, :2] = 0, 255
    contents = {name: _idx(a) for name, a in zip(mnist.FILES, arrays, strict=True)}
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
    monkeypatch.setattr(mnist, "FILES", sums)
    return arrays, contents


@pytest.fixture
def folder(tmp_path, originals):
    for name, content in originals[1].items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, timeout):
        raise AssertionError(f"the network was used: {url}")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_are_bytes_over_255_row_by_row_and_labels_are_int64(
    folder, originals, no_network, dtype
):
    images, labels, test_images, test_labels = originals[0]
    split = data.load_mnist(str(folder), dtype=dtype)
    assert split.x_train.shape == (6, 20) and split.x_test.shape == (3, 20)
    assert split.x_train.dtype == dtype and split.y_train.dtype == np.int64
    expected = np.array(
        [[pixel / 255 for row in image for pixel in row.tolist()] for image in images]
    )
    np.testing.assert_array_equal(split.x_train, expected.astype(dtype))
    np.testing.assert_array_equal((split.x_test * 255).round().reshape(3, 4, 5), test_images)
    np.testing.assert_array_equal(split.y_train, labels)
    np.testing.assert_array_equal(split.y_test, test_labels)
    assert split.x_train.min() == 0 and split.x_train.max() == 1


def test_a_missing_file_names_the_four_and_the_remedy_and_nothing_is_fetched(folder, no_network):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte.gz \(the four") as e:
        data.load_mnist(folder)
    assert all(name in str(e.value) for name in mnist.FILES)
    assert "download=True" in str(e.value)


def test_a_changed_byte_is_noticed(folder, no_network):
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images.* is not the original file \(its SHA-256"):
        data.load_mnist(folder)


def test_download_fetches_only_what_is_missing_and_tries_the_next_mirror(
    folder, originals, monkeypatch
):
    asked = []

    def serve(url, timeout):
        asked.append(url)
        if url.startswith(mnist.MIRRORS[0]):
            raise urllib.error.URLError("down")
        return io.BytesIO(originals[1][url.rpartition("/")[2]])

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    name = "train-labels-idx1-ubyte.gz"
    (folder / name).unlink()
    split = data.load_mnist(folder, download=True)
    np.testing.assert_array_equal(split.y_train, originals[0][1])
    assert asked == [mirror + name for mirror in mnist.MIRRORS]
    assert sorted(path.name for path in folder.iterdir()) == sorted(mnist.FILES)
    data.load_mnist(folder, download=True)
    assert len(asked) == 2  # all there: nothing more is asked for


def test_a_damaged_download_is_never_kept(tmp_path, originals, monkeypatch):
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"an error page")
    )
    with pytest.raises(OSError, match=r"could not download train-images.* not the original file"):
        data.load_mnist(tmp_path / "new", download=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_leaves_no_partial_file(tmp_path, originals, monkeypatch):
    def serve(url, timeout):
        return io.BytesIO(originals[1][url.rpartition("/")[2]])

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        data.load_mnist(tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"expected an IDX file of unsigned bytes .* got \[\]"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", r"expected an IDX file .* got \[0, 0, 13\]"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", r"expected data of shape \(3,\), got 2 bytes"),
        (b"\x00\x00\x08\x03\x00\x00", "the header should take 16 bytes, but the file ends after 6"),
    ],
)
def test_a_file_of_another_kind_or_length_is_refused(raw, message):
    with pytest.raises(ValueError, match=f"labels: {message}"):
        mnist.parse_idx(raw, "labels")


def test_the_type_must_be_floating_point(folder):
    with pytest.raises(TypeError, match="load_mnist: dtype must be a floating-point type"):
        data.load_mnist(folder, dtype=np.uint8)
