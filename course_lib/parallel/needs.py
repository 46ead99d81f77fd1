"""What the parallel package needs beyond NumPy, asked for where it is first used.

Chapter: none; this file serves the others.
"""

from __future__ import annotations

from importlib.util import find_spec


def require_dask(who: str) -> None:
    """Raise ImportError, with the command that helps, unless Dask is installed.

    Parameters
    ----------
    who : str
        What needs it, for the error sentence.

    Raises
    ------
    ImportError
        If the package ``distributed`` is missing.

    Examples
    --------
    >>> require_dask("gang")  # nothing happens where Dask is installed
    """
    if find_spec("distributed") is None:
        raise ImportError(
            f'{who} needs Dask; pip install "course-lib[parallel]", or run the ranks as threads '
            'of this process with comm="inprocess".'
        )
