"""Shows the buttons for Binder and Colab once the project has an address they can open.

Until then ``repository: url:`` in _config.yml names YOUR_ACCOUNT, which is nobody's, and a button
would lead every reader to a page that does not exist.
"""

from __future__ import annotations

from typing import Any

NOBODY = "YOUR_ACCOUNT"


def _hide(app: Any, config: Any) -> None:
    options = config.html_theme_options
    if NOBODY in options.get("repository_url", ""):
        options["launch_buttons"] = {}


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", _hide)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
