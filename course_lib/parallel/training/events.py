"""What the driver is told while the ranks train, and the progress bar that shows it.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """What ``on_event`` is shown.

    Attributes
    ----------
    epoch : int
        The epoch (from 0) that has ended or is under way.
    metrics : dict of str to float
        For "metric": the newest row of the history; else empty.
    kind : str
        ``"metric"``: an epoch has ended. ``"progress"``: a sign of life within an epoch, twice a
        second at most. ``"checkpoint"``: one was written. ``"worker_lost"``: a worker was lost or
        does not answer. ``"restart"``: the ranks start again.
    step : int or None
        Steps taken since the beginning of the training.
    message : str
        A sentence, or the path of the checkpoint.

    Examples
    --------
    >>> Event(2, {"loss": 0.5})
    Event(epoch=2, metrics={'loss': 0.5}, kind='metric', step=None, message='')
    """

    epoch: int
    metrics: dict[str, float]
    kind: str = "metric"
    step: int | None = None
    message: str = ""


class Listener:
    """Turns what rank 0 reports into events, each once, and moves the progress bar.

    Examples
    --------
    >>> with Listener(print, epochs=3) as listener:
    ...     for _ in range(2):  # a restarted training comes by the same epoch again
    ...         listener({"epoch": 0, "metrics": {"loss": 0.5}, "kind": "metric", "step": 4})
    Event(epoch=0, metrics={'loss': 0.5}, kind='metric', step=4, message='')
    """

    def __init__(
        self, on_event: Callable[[Event], None] | None, *, epochs: int, progress: bool = False
    ) -> None:
        self._on_event = on_event
        self._epoch = self._seen = -1
        self.saved: int | None = None  # the steps taken at the last checkpoint
        self._bar: Any = None
        if progress:
            from tqdm.auto import tqdm  # here: it would double the import time of the package

            self._bar = tqdm(total=epochs, unit="epoch")

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Take a message of rank 0: the fields of an event."""
        event = Event(**message)
        self._epoch = event.epoch
        if event.kind == "checkpoint":
            self.saved = event.step
        if event.kind == "metric":
            if event.epoch <= self._seen:
                return
            self._seen = event.epoch
        if self._bar is not None:
            self._show(event)
        if self._on_event is not None:
            self._on_event(event)

    def tell(self, kind: str, message: str, step: int | None = None) -> None:
        """Pass on something that the driver has noticed itself."""
        self({"epoch": self._epoch, "metrics": {}, "kind": kind, "step": step, "message": message})

    def resume(self, epoch: int) -> None:
        """Note that the epochs before `epoch` have ended, in an earlier run."""
        self._epoch = self._seen = max(self._seen, epoch - 1)
        if self._bar is not None:
            self._bar.update(self._seen + 1 - self._bar.n)

    def _show(self, event: Event) -> None:
        if event.kind == "metric":
            self._bar.set_postfix({name: f"{v:.4g}" for name, v in event.metrics.items()})
            self._bar.update(event.epoch + 1 - self._bar.n)
        elif event.kind in ("worker_lost", "restart"):
            self._bar.set_postfix_str(event.kind.replace("_", " "))

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
