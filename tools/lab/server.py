"""One server for the notebooks and the book: Jupyter Server, with JupyterLab and the built pages.

The book is under ``/book/``, behind the same token as the notebooks. Two of its addresses are
answered by the server itself: ``_static/lab.js``, which in the book as it is built does nothing and
here turns "Run this chapter" into a link, and ``lab.json``, the exercises that were solved on this
machine.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp, list_running_servers
from tornado import web

from tools.book_source import exercise_anchor

HERE = Path(__file__).resolve().parent
ADDRESS = "127.0.0.1"
START = "/lab/tree/START_HERE.ipynb"
BOOK = "/book/"


def solved() -> list[str]:
    """Return the anchors of the exercises that were solved on this machine."""
    from course_lib.exercises import progress

    return sorted(map(exercise_anchor, progress.solved()))


class BookHandler(JupyterHandler, web.StaticFileHandler):
    """A file of the built book, for who has the token.

    Jupyter's own handler of files puts each page into a sandbox, in which a page has no storage.
    """

    @web.authenticated
    async def get(self, path: str, include_body: bool = True) -> None:
        """Send the file."""
        await web.StaticFileHandler.get(self, path, include_body)

    @web.authenticated
    async def head(self, path: str) -> None:
        """Send its headers."""
        await web.StaticFileHandler.get(self, path, include_body=False)

    def get_content_type(self) -> str:
        """Return the type; all text of the book is UTF-8."""
        kind = web.StaticFileHandler.get_content_type(self)
        return f"{kind}; charset=UTF-8" if kind.startswith("text/") else kind

    def set_extra_headers(self, path: str) -> None:
        """Let the browser keep a file, but ask each time: the book may be built meanwhile."""
        self.set_header("Cache-Control", "no-cache")

    def compute_etag(self) -> str | None:
        """Return none: Tornado would remember that of the first time, however the file changes."""
        return None


class ScriptHandler(JupyterHandler):
    """The script that joins the pages of the book to JupyterLab."""

    @web.authenticated
    async def get(self) -> None:
        """Send it; the address has the hash of the script that does nothing."""
        self.set_header("Content-Type", "text/javascript; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.finish((HERE / "page.js").read_bytes())


class SolvedHandler(JupyterHandler):
    """The exercises that were solved."""

    @web.authenticated
    async def get(self) -> None:
        """Send their anchors."""
        self.set_header("Cache-Control", "no-store")
        self.finish({"solved": solved()})


def free_port(wanted: int) -> int:
    """Return the first free port from this one on; Jupyter itself would choose by chance."""
    for port in range(wanted, min(wanted + 100, 2**16)):
        with socket.socket() as probe:
            if os.name == "posix":  # as Tornado binds; a port that was left a moment ago is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port from {wanted} on")


def running(folder: Path) -> str | None:
    """Return the address of a server that has this folder open already, token and all."""
    for info in list_running_servers():
        if Path(info["root_dir"]) == folder:
            return f"{info['url'].rstrip('/')}{START}?token={info['token']}"
    return None


def make(folder: Path, book: Path, port: int, *, browser: bool) -> Any:
    """Return a server that is ready to be started.

    What a user has set for Jupyter holds, such as a password; what is given here goes before it.
    """
    options = {
        "ServerApp.root_dir": folder,
        "ServerApp.ip": ADDRESS,
        "ServerApp.port": port,
        "ServerApp.base_url": "/",
        "ServerApp.default_url": START,
        "ServerApp.open_browser": browser,
        "ServerApp.allow_root": True,  # in a container one often is root
        "ServerApp.answer_yes": True,  # Ctrl-C stops, without a question
        "Application.log_level": "WARN",
        # The tabs of this folder, not those of other projects.
        "LabApp.workspaces_dir": folder / ".jupyter" / "workspaces",
        "LabApp.extra_labextensions_path": HERE / "extension",
    }
    app = ServerApp.instance(jpserver_extensions={"jupyterlab": True})
    app.initialize([f"--{name}={value}" for name, value in options.items()])
    app.identity_provider.token_generated = False  # or it prints addresses of its own
    app.web_app.add_handlers(
        ".*$",
        [
            (f"{BOOK}_static/lab[.]js", ScriptHandler),
            (f"{BOOK}lab[.]json", SolvedHandler),
            (BOOK.rstrip("/"), web.RedirectHandler, {"url": BOOK}),
            (f"{BOOK}(.*)", BookHandler, {"path": book, "default_filename": "index.html"}),
        ],
    )
    return app


def trust(app: Any, notebooks: list[Path]) -> None:
    """Let JupyterLab show all that these notebooks hold, such as figures that move.

    Of a notebook that comes from anywhere, it shows only what is harmless until it was run.
    """
    for path in notebooks:
        app.contents_manager.notary.sign(nbformat.read(path, as_version=4))


def addresses(app: Any) -> tuple[str, str]:
    """Return where the notebooks and the book are, to be typed into a browser."""
    token = app.identity_provider.token
    query = f"?token={token}" if token else ""
    root = f"http{'s' if app.certfile else ''}://{ADDRESS}:{app.port}"
    return f"{root}{START}{query}", f"{root}{BOOK}index.html{query}"
