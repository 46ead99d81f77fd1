"""Opens the learner's notebooks, with the book beside them: `make lab`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import webbrowser
from pathlib import Path

from tools.book_source import BOOK, ROOT
from tools.lab import copy, server
from tools.notebooks import learner

PORT = 8888


def bring_up_to_date(folder: Path) -> str:
    """Write the notebooks as they are today, copy what has changed, and return what was done."""
    with tempfile.TemporaryDirectory() as place:
        learner.write(Path(place), edition="lab")
        report = copy.update(folder, Path(place))
    return copy.words(report, os.path.relpath(folder))


def main() -> None:
    """Copy, start the server, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.lab", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help="the next free one if it is taken")
    parser.add_argument("--no-browser", action="store_true", help="only print the addresses")
    parser.add_argument("--folder", type=Path, default=ROOT / "learning", help="your notebooks")
    parser.add_argument("--book", type=Path, default=BOOK / "_build" / "html", help="as it is built")
    options = parser.parse_args()
    folder, book = options.folder.resolve(), options.book.resolve()
    if not (book / "index.html").is_file():
        parser.error(f"no built book in {book}: run `make book` first")
    if (address := server.running(folder)) is not None:
        print(f"These notebooks are open already:\n  {address}")
        if not options.no_browser:
            webbrowser.open(address)
        return
    try:
        print(bring_up_to_date(folder))
        port = server.free_port(options.port)
    except OSError as error:
        sys.exit(f"python -m tools.lab: {error}. Nothing of yours was changed.")
    if port != options.port:
        print(f"Port {options.port} is taken; this is port {port}.")
    app = server.make(folder, book, port, browser=not options.no_browser)
    notebooks, pages = server.addresses(app)
    print(f"The notebooks:  {notebooks}\nThe book:       {pages}\nCtrl-C stops both.", flush=True)
    app.start()


if __name__ == "__main__":
    main()
