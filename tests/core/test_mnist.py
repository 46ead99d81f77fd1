"""MNIST: small IDX files written here, byte by byte, stand for the real ones; no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import socketserver
import struct
import threading
import time
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


BROKEN = {
    "cut off in the middle": lambda body: head(len(body)) + body[: len(body) // 2],
    "no answer": lambda body: b"",
    "no status": lambda body: b"nonsense\r\n\r\n",
    "endless status": lambda body: b"HTTP/1.1 200 " + b"x" * 70_000,
    "cut off in the headers": lambda body: b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut off in a chunk": lambda body: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc"
    ),
    "no number": lambda body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
    "not found": lambda body: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "sent in circles": lambda body: (
        b"HTTP/1.1 302 Found\r\nLocation: /one/train-images-idx3-ubyte.gz\r\n"
        b"Content-Length: 0\r\n\r\n"
    ),
    "sent nowhere": lambda body: b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\n\r\n",
    "another file": lambda body: head(9) + b"some text",
    "a byte is missing": lambda body: head(len(body) - 1) + body[:-1],
}


def head(length):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.fixture
def mirrors(originals, monkeypatch):
    """Two mirrors on this machine; return the dictionary of what each makes of a file."""
    answers = {"one": None, "two": lambda body: head(len(body)) + body}

    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            asked = self.rfile.readline().decode()
            while self.rfile.readline().strip():
                pass
            _, mirror, name = asked.split()[1].split("/")
            self.wfile.write(answers[mirror](originals[1][name]))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        place = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(mnist, "MIRRORS", (f"{place}/one/", f"{place}/two/"))
        monkeypatch.setenv("no_proxy", "*")
        yield answers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_one_mirror_sends_the_next_is_asked(tmp_path, originals, mirrors, kind):
    mirrors["one"] = BROKEN[kind]
    split = data.load_mnist(tmp_path, download=True)
    np.testing.assert_array_equal(split.y_train, originals[0][1])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mnist.FILES)


@pytest.mark.parametrize("kind", BROKEN)
def test_if_all_mirrors_fail_the_error_names_each_and_the_remedy(tmp_path, mirrors, kind):
    mirrors["one"] = mirrors["two"] = BROKEN[kind]
    with pytest.raises(OSError, match=r"could not download train-images.*Copy the four files") as e:
        data.load_mnist(tmp_path, download=True)
    assert all(mirror in str(e.value) for mirror in mnist.MIRRORS)
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_that_is_silent_is_given_up(tmp_path, mirrors, monkeypatch):
    def slowly(body):
        time.sleep(0.3)
        return b""

    mirrors["one"] = slowly
    original = urllib.request.urlopen
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, timeout: original(url, timeout=timeout / 600)
    )
    data.load_mnist(tmp_path, download=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mnist.FILES)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_said_before_anything_is_fetched(
    tmp_path, no_network, place
):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=rf"load_mnist: .*{place} cannot be written to \(.+\)\.$"):
        data.load_mnist(tmp_path / place, download=True)


def test_a_full_disk_leaves_no_partial_file(tmp_path, originals, monkeypatch):
    def serve(url, timeout):
        return io.BytesIO(originals[1][url.rpartition("/")[2]])

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=r"cannot be written to \(disk full\)"):
        data.load_mnist(tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"expected an IDX file of unsigned bytes .* got \[\]"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", r"expected an IDX file .* got \[0, 0, 13\]"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03ab", r"expected data of shape \(3,\), got 2 bytes"),
        (b"\x00\x00\x08\x02" + bytes(7) + b"\x01\x00", r"expected data of shape \(0, 1\), got 1"),
        (b"\x00\x00\x08\x03\x00\x00", "the header should take 16 bytes, but the file ends after 6"),
    ],
)
def test_a_file_of_another_kind_or_length_is_refused(raw, message):
    with pytest.raises(ValueError, match=f"labels: {message}"):
        mnist.parse_idx(raw, "labels")


def test_no_images_are_no_images():
    assert mnist.parse_idx(b"\x00\x00\x08\x03" + bytes(11) + b"\x05", "none").shape == (0, 0)


def test_the_type_must_be_floating_point(folder):
    with pytest.raises(TypeError, match="load_mnist: dtype must be a floating-point type"):
        data.load_mnist(folder, dtype=np.uint8)
