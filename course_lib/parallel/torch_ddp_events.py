"""What the driver of a PyTorch program is told while the ranks work.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class RankEvent(NamedTuple):
    """What ``on_event`` is shown: something that one rank has told.

    Attributes
    ----------
    rank : int
        Which rank; -1 for the driver itself.
    kind : str
        ``"metric"``: what the program reports. ``"progress"``: a sign of life from the loader,
        twice a second at most. ``"checkpoint"``: one was written. ``"restart"``: a worker was
        lost, and the ranks start again.
    values : dict
        Numbers and strings by name.
    message : str
        A path or a sentence.

    Examples
    --------
    >>> RankEvent(1, "metric", {"loss": 0.5})
    RankEvent(rank=1, kind='metric', values={'loss': 0.5}, message='')
    """

    rank: int
    kind: str
    values: dict[str, Any]
    message: str = ""
