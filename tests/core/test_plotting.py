"""Figures: what is drawn is what was given, and the same picture comes out every time."""

from __future__ import annotations

import io
import sys

import matplotlib
import nbformat
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex, to_rgb
from nbclient import NotebookClient

from course_lib import plotting

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    return x, (x[:, 0] > x[:, 1]).astype(int)


def _drawings(points):
    x, y = points
    yield lambda: plotting.learning_curve({"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.6]})
    yield lambda: plotting.decision_regions(lambda p: (p[:, 0] > p[:, 1]).astype(int), x, y)
    yield lambda: plotting.image_grid(np.arange(3 * 64.0).reshape(3, 64), ["a", "b", "c"])


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_drawing_gives_the_same_bytes(points, kind):
    for draw in _drawings(points):
        files = []
        for _ in range(2):
            with plotting.style():
                drawn = draw()
                figure = getattr(drawn, "figure", drawn)
                buffer = io.BytesIO()
                figure.savefig(
                    buffer, format=kind, metadata={"Date": None} if kind == "svg" else {}
                )
            files.append(buffer.getvalue())
        assert files[0] == files[1] and len(files[0]) > 1000


def test_the_style_ends_with_its_context():
    before = dict(matplotlib.rcParams)
    with plotting.style():
        assert matplotlib.rcParams["axes.prop_cycle"].by_key()["color"] == list(plotting.COLOURS)
    assert dict(matplotlib.rcParams) == before


# Viénot, Brettel & Mollon 1999: what red-green blind eyes (protan, deutan) see, in linear RGB.
BLIND = {
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("eyes", BLIND)
def test_any_two_colours_differ_for_colour_blind_readers(eyes):
    linear = np.array([to_rgb(c) for c in plotting.COLOURS]) ** 2.2
    seen = np.clip(linear @ BLIND[eyes].T, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)[~np.eye(len(seen), dtype=bool)]
    assert distances.min() > 0.1  # a tenth of the range of one channel


def test_colours_are_dark_enough_for_lines_on_white():
    for colour in plotting.COLOURS:
        r, g, b = np.array(to_rgb(colour)) ** 2.2
        assert 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.5


def test_blue_is_positive_and_ink_is_dark():
    with plotting.style():
        signed, ink = (matplotlib.colormaps[name] for name in (plotting.SIGNED, plotting.INK))
    assert to_hex(signed(1.0)) == plotting.COLOURS[0].lower()
    assert to_hex(signed(0.0)) == plotting.COLOURS[5].lower()
    assert np.allclose(signed(0.5), 1, atol=0.01)  # 256 shades have no middle one
    assert to_hex(ink(1.0)) == "#000000" and to_hex(ink(0.0)) == "#ffffff"
    assert plotting.style() is not None and matplotlib.colormaps[plotting.SIGNED] == signed


def test_a_notebook_shows_vectors_and_the_same_bytes_each_time():
    code = "from course_lib import plotting\nimport matplotlib.pyplot as plt\n"
    code += "plotting.use_style()\nplt.plot([1, 2])\nplt.show()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    shown = []
    for _ in range(2):
        NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
        (output,) = notebook.cells[0].outputs
        assert "image/png" not in output.data
        shown.append(output.data["image/svg+xml"])
    assert shown[0] == shown[1] and "<metadata>" not in shown[0]


def test_learning_curve_draws_each_metric_over_its_epochs():
    history = {
        "loss": [3.0, 2.0, 1.0],
        "val_loss": [4.0, 3.0, 2.0],
        "val_accuracy": [0.1, 0.5, 0.9],
    }
    ax = plotting.learning_curve(history)
    assert [line.get_label() for line in ax.lines] == ["training loss", "validation loss"]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert ax.lines[1].get_ydata().tolist() == [4, 3, 2]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()  # told apart without colour
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    other = plotting.learning_curve(history, metrics=["val_accuracy"], ax=ax)
    assert other is ax and ax.get_ylabel() == "accuracy"


def test_decision_regions_ask_the_classifier_where_they_are_drawn(points):
    x, y = points
    asked = []

    def predict(p):
        asked.append(p)
        return (p[:, 0] > p[:, 1]).astype(int)

    ax = plotting.decision_regions(predict, x, y, resolution=50)
    mesh, *classes = ax.collections
    grid = np.concatenate(asked)
    assert grid.shape == (2500, 2)
    assert np.all(grid.min(0) < x.min(0)) and np.all(grid.max(0) > x.max(0))
    # Element (row, column) of the mesh lies at (x_column, y_row): a transpose would show here.
    columns, rows = np.unique(grid[:, 0]), np.unique(grid[:, 1])
    expected = columns[None, :] > rows[:, None]
    np.testing.assert_array_equal(np.reshape(mesh.get_array(), (50, 50)), expected)
    for label, drawn in enumerate(classes):
        np.testing.assert_array_equal(drawn.get_offsets(), x[y == label])


def test_image_grid_keeps_pixels_order_and_one_grey_scale():
    images = np.random.default_rng(0).random((7, 16))
    figure = plotting.image_grid(images, range(7), columns=3)
    assert len(figure.axes) == 7
    for i, ax in enumerate(figure.axes):
        np.testing.assert_array_equal(ax.images[0].get_array(), images[i].reshape(4, 4))
        assert ax.images[0].get_clim() == (images.min(), images.max())
        assert ax.get_title() == str(i)
    assert len(plotting.image_grid(np.zeros((2, 3, 5))).axes) == 2


def test_bad_arguments_get_a_sentence(points):
    x, y = points
    with pytest.raises(ValueError, match="learning_curve: history must have one of the metrics"):
        plotting.learning_curve({"val_accuracy": [1.0]})
    with pytest.raises(ValueError, match=r"decision_regions: x must have 2 columns"):
        plotting.decision_regions(lambda p: y, x[:, :1], y)
    with pytest.raises(ValueError, match=r"image_grid: images must have shape .* got \(2, 15\)"):
        plotting.image_grid(np.zeros((2, 15)))
    with pytest.raises(ValueError, match=r"expected 2 titles \(one per image\), got 1"):
        plotting.image_grid(np.zeros((2, 16)), ["one"])


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (plotting.style, lambda: plotting.learning_curve({"loss": [1.0]})):
        with pytest.raises(
            ImportError, match=r'needs matplotlib; pip install "course-lib\[plot\]"'
        ):
            draw()


@pytest.mark.parametrize("labels", [[0, 7], [-1, 0], [0.0, 1.0], ["a", "b"]])
def test_there_are_seven_colours_for_classes(labels):
    with pytest.raises(ValueError, match="y must hold classes, whole numbers from 0 to 6, got"):
        plotting.decision_regions(lambda p: np.zeros(len(p), int), np.eye(2), labels)
    ax = plotting.decision_regions(lambda p: np.zeros(len(p), int), np.eye(2), [0, 6], resolution=2)
    assert len(ax.collections) == 8
    pyplot.close("all")
