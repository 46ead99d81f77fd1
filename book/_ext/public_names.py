"""Lets the text name things as users import them: `course_lib.mlp` finds `course_lib.network.mlp`.

A file may hand on what another defines, and is documented there; a docstring may leave the package
out altogether. A name that could mean two things stays unresolved: a warning.
"""

from __future__ import annotations

import sys
from typing import Any


def documented(target: str, names: Any, module: str | None = None) -> str | None:
    """Return the one documented name that `target`, written in `module`, means, or None."""
    for path in (target, f"{module}.{target}"):
        owner, _, name = path.rpartition(".")
        # Only what is there already: asking a package for a lazy name would import PyTorch or Dask.
        value = vars(sys.modules[owner]).get(name) if owner in sys.modules else None
        defined = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
        if defined in names:
            return defined
    package, _, name = target.rpartition(".")
    ending = f".{name}" if package.startswith("course_lib") else f".{target}"
    found = [full for full in names if full.startswith("course_lib.") and full.endswith(ending)]
    return found[0] if len(found) == 1 else None


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    full = documented(node["reftarget"], domain.objects, node.get("py:module"))
    if full is None:
        return None
    source, kind = node["refdoc"], node["reftype"]
    return domain.resolve_xref(env, source, app.builder, kind, full, node, contnode)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
