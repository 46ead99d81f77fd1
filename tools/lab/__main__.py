"""Opens the learner's notebooks, with the book beside them: `make lab`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from tools.book_source import BOOK, ROOT
from tools.lab import copy, server

PORT = 8888


def course(built: Path) -> Path:
    """Return the folder with the notebooks of the course, written again if the book is newer."""
    folder = built / "learner"
    makers = [built / "mentions.json", *(ROOT / "tools" / "notebooks").glob("*.py")]
    changed = max(path.stat().st_mtime for path in makers)

    def fresh() -> bool:
        return folder.is_dir() and folder.stat().st_mtime >= changed

    if fresh():
        return folder
    from tools.notebooks import learner  # with all it needs, a second or two

    with tempfile.TemporaryDirectory(prefix=".learner-", dir=built) as place:
        learner.write(Path(place, "new"), edition="lab", built=built)
        # Another one that was started at the same time may have been quicker, and be reading.
        if not fresh():
            if folder.is_dir():
                folder.rename(Path(place, "old"))
            Path(place, "new").rename(folder)
    return folder


def main() -> None:
    """Copy, start the server, and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.lab", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help="the next free one if it is taken")
    parser.add_argument("--no-browser", action="store_true", help="only print the addresses")
    parser.add_argument("--folder", type=Path, default=ROOT / "learning", help="your notebooks")
    parser.add_argument(
        "--book", type=Path, default=BOOK / "_build" / "html", help="as it is built"
    )
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
        report = copy.update(folder, course(book.parent))
        port = server.free_port(options.port)
    except OSError as error:
        sys.exit(f"python -m tools.lab: {error}. Nothing that you typed was changed.")
    inside = folder.is_relative_to(Path.cwd())
    print(copy.words(report, str(folder.relative_to(Path.cwd()) if inside else folder)))
    if port != options.port:
        print(f"Port {options.port} is taken; this is port {port}.")
    app = server.make(folder, book, port, browser=not options.no_browser)
    server.trust(app, [folder / name for name in report.written])
    notebooks, pages = server.addresses(app)
    print(f"The notebooks:  {notebooks}\nThe book:       {pages}\nCtrl-C stops both.", flush=True)
    signal.signal(signal.SIGINT, lambda *_: stop(app))
    app.start()


def stop(app: Any) -> None:
    """Stop the server between two of its tasks; in the middle of one, an interrupt can be lost."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C again stops at once
    app.stop(from_signal=True)


if __name__ == "__main__":
    main()
