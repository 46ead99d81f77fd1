"""Links names of Python, NumPy, PyTorch and Dask to their documentation, without asking for it.

Sphinx would fetch an inventory of each project to do this; the build fetches nothing. The table
holds the few names that the book uses. A name that stands in the text as code alone, such as
``np.argsort``, is linked too.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

_PYTHON = "https://docs.python.org/3/library"
_NUMPY = "https://numpy.org/doc/stable/reference"
_TORCH = "https://docs.pytorch.org/docs/stable"
_DASK = "https://docs.dask.org/en/stable"
_DISTRIBUTED = "https://distributed.dask.org/en/stable/api.html"

# Address, with the full name in place of {}, and the names that are documented there.
_PAGES = {
    f"{_PYTHON}/functions.html#{{}}": "bool float int",
    f"{_PYTHON}/stdtypes.html#{{}}": "bytes dict list set str tuple",
    f"{_PYTHON}/typing.html#{{}}": "typing.Any",
    f"{_PYTHON}/pathlib.html#{{}}": "pathlib.Path",
    f"{_PYTHON}/contextlib.html#{{}}": "contextlib.nullcontext",
    f"{_PYTHON}/math.html#{{}}": "math.erf math.expm1 math.inf",
    f"{_PYTHON}/collections.abc.html#{{}}": "collections.abc.Callable collections.abc.Generator "
    "collections.abc.Iterator collections.abc.Mapping collections.abc.Sequence",
    f"{_NUMPY}/generated/{{}}.html": "numpy.allclose numpy.argsort numpy.dtype "
    "numpy.linalg.eigvalsh numpy.linalg.lstsq numpy.ndarray numpy.polyfit numpy.ufunc.at "
    "numpy.where",
    f"{_NUMPY}/random/generator.html#{{}}": "numpy.random.Generator",
    f"{_TORCH}/generated/{{}}.html": "torch.from_numpy torch.nn.CrossEntropyLoss torch.nn.Linear "
    "torch.nn.Module torch.nn.parallel.DistributedDataParallel torch.no_grad torch.optim.Adam "
    "torch.tensor",
    f"{_TORCH}/tensors.html#{{}}": "torch.Tensor",
    f"{_DASK}/array.html": "dask.array",
    f"{_DASK}/delayed.html": "dask.delayed",
    f"{_DISTRIBUTED}#{{}}": "distributed.Client distributed.Client.gather "
    "distributed.Client.scatter distributed.Client.submit distributed.LocalCluster "
    "distributed.worker_client",
}
ADDRESSES = {name: page.format(name) for page, names in _PAGES.items() for name in names.split()}
# As the text writes them, after `import numpy as np` and the like.
ALIASES = {
    "np.add.at": "numpy.ufunc.at",
    "numpy.random._generator.Generator": "numpy.random.Generator",  # as the signatures say
    "nn.CrossEntropyLoss": "torch.nn.CrossEntropyLoss",
    "nn.Linear": "torch.nn.Linear",
    "nn.Module": "torch.nn.Module",
    "DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
    "Client": "distributed.Client",
    "LocalCluster": "distributed.LocalCluster",
    "client.gather": "distributed.Client.gather",
    "client.scatter": "distributed.Client.scatter",
    "client.submit": "distributed.Client.submit",
}


def address(name: str) -> str | None:
    """Return where a name is documented, or None.

    Examples
    --------
    >>> address("np.argsort()")
    'https://numpy.org/doc/stable/reference/generated/numpy.argsort.html'
    """
    name = name.strip().removesuffix("()")
    name = ALIASES.get(name, name)
    full = f"numpy.{name[3:]}" if name.startswith("np.") else name
    return ADDRESSES.get(full)


def _link(name: str, content: nodes.Node) -> nodes.reference | None:
    uri = address(name)
    if uri is None:
        return None
    return nodes.reference("", "", content, refuri=uri, internal=False)


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    return _link(node["reftarget"], contnode) if node.get("refdomain") == "py" else None


class LinkLiterals(SphinxPostTransform):
    """Link code in the text that is nothing but a name of the table."""

    default_priority = 500

    def run(self, **kwargs: Any) -> None:
        """Replace the literals of one page."""
        # Short names are those of other packages only with a dot or as an alias: `list` is a word.
        for literal in list(self.document.findall(nodes.literal)):
            name = literal.astext()
            known = "." in name or name in ALIASES
            if known and isinstance(literal.parent, nodes.paragraph):
                link = _link(name, literal.deepcopy())
                if link is not None:
                    literal.replace_self(link)


def setup(app: Any) -> None:
    """Register with Sphinx."""
    app.connect("missing-reference", _resolve)
    app.add_post_transform(LinkLiterals)
