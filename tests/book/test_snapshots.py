"""Each interactive figure has a picture for where no script runs, and the picture is sane."""

from __future__ import annotations

import pytest

from tests.book.figure_places import SCRIPTS, places

Image = pytest.importorskip("PIL.Image", reason="pillow comes with matplotlib")
NAMES = sorted({place.name for place in places()})
FOLDER = SCRIPTS / "snapshots"


def test_every_figure_has_a_picture_and_every_picture_a_figure() -> None:
    """If not, run ``make snapshots``."""
    assert sorted(path.stem for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_sharp_and_small_and_shows_something(name: str) -> None:
    """720 pixels wide in double resolution, lying; not an empty box; a sentence says what it is."""
    path = FOLDER / f"{name}.png"
    with Image.open(path) as picture:
        width, height = picture.size
        colours = picture.convert("RGB").getcolors(maxcolors=width * height)
        said = picture.text["Description"]
    assert width == 1440 and 0.5 < height / width < 1.1
    assert path.stat().st_size < 200_000
    white = max(count for count, _ in colours) / (width * height)
    assert len(colours) > 30 and white < 0.97
    assert any(letter.isdigit() for letter in said) and len(said) > 30


def test_the_states_name_controls_that_their_figures_have() -> None:
    """A control that is called otherwise now would be left as it was, and nobody would know."""
    snapshots = pytest.importorskip("tools.pictures.snapshots", reason="selenium is not installed")
    for name, state in snapshots.STATES.items():
        own = (SCRIPTS / f"{name}.js").read_text("utf-8")
        # A button may be called by its number and what another script calls it.
        names = {f'"{key.partition(". ")[2] or key}"' for key in state}
        said = own + (SCRIPTS / "specimens.js").read_text("utf-8")
        assert [key for key in names if key not in said] == [], name
