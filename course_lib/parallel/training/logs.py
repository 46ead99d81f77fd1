"""Where a training's events go: to ``logging``, into a table, to TensorBoard.

Each is a listener, for ``on_event`` of both trainings, and hears each epoch once, in the process
that has started the training, also when ranks had to start again.

Chapter: data parallelism.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from course_lib.arrays import check_callable, check_instance
from course_lib.checkpoint import StrPath
from course_lib.parallel.training.events import Event
from course_lib.paths import check_path


def together(*listeners: Callable[[Event], object]) -> Callable[[Event], None]:
    """Return one listener that passes each event on to several.

    Examples
    --------
    >>> heard = []
    >>> together(heard.append, lambda event: heard.append(event.epoch))(Event(3, {}))
    >>> heard[1]
    3
    """
    for listener in listeners:
        check_callable(listener, where="together", name="each of listeners", takes=("event",))

    def hear(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return hear


class LogEvents:
    """Write events to ``logging``: lost workers are warnings, epochs and checkpoints information.

    Parameters
    ----------
    logger : logging.Logger, optional
        By default the one called "course_lib".

    Examples
    --------
    >>> import sys
    >>> logger = logging.Logger("mine")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> LogEvents(logger)(Event(0, {"loss": 0.5, "val_loss": 0.75}, step=12))
    epoch 0, step 12: loss 0.5, val_loss 0.75
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        if logger is not None:
            check_instance(logger, logging.Logger, where="LogEvents", name="logger")
        self._logger = logging.getLogger("course_lib") if logger is None else logger

    def __call__(self, event: Event) -> None:
        """Write one event."""
        levels = {"worker_lost": logging.WARNING, "restart": logging.WARNING}
        level = levels.get(event.kind, logging.INFO)
        if event.kind == "metric":
            text = ", ".join(f"{name} {value:.6g}" for name, value in event.metrics.items())
            self._logger.log(level, "epoch %d, step %s: %s", event.epoch, event.step, text)
        elif event.kind != "progress":
            self._logger.log(level, "%s: %s", event.kind.replace("_", " "), event.message)


class CSVLog:
    """Write a line per epoch into a table of comma-separated values.

    A training that goes on adds its lines to those that are there.

    Parameters
    ----------
    path : path
        The file; its folder must be there.

    Raises
    ------
    ValueError
        If the file has other columns.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(f"{folder}/epochs.csv")
    ...     log(Event(0, {"loss": 0.5}, step=12))
    ...     log(Event(1, {"loss": 0.25}, step=24))
    ...     print(Path(f"{folder}/epochs.csv").read_text())
    epoch,step,loss
    0,12,0.5
    1,24,0.25
    """

    def __init__(self, path: StrPath) -> None:
        self._path = check_path(path, where="CSVLog", name="path")

    def __call__(self, event: Event) -> None:
        """Write the line of an epoch that has ended; nothing for another event."""
        if event.kind != "metric":
            return
        columns = ["epoch", "step", *event.metrics]
        there = self._path.exists() and self._path.stat().st_size > 0
        if there:
            with self._path.open(newline="", encoding="utf-8") as file:
                found = next(csv.reader(file))
            if found != columns:
                raise ValueError(
                    f"CSVLog: {self._path} has the columns {', '.join(found)}, and this training "
                    f"{', '.join(columns)}; give another file."
                )
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not there:
                writer.writerow(columns)
            writer.writerow([event.epoch, event.step, *event.metrics.values()])


class TensorBoardLog:
    """Write each epoch's numbers where TensorBoard reads them; needs PyTorch and tensorboard.

    Parameters
    ----------
    folder : path
        Of this training; ``tensorboard --logdir`` is given it, or the one above.

    Raises
    ------
    ImportError
        If a package is missing.
    """

    def __init__(self, folder: StrPath) -> None:
        path = check_path(folder, where="TensorBoardLog", name="folder")
        for package in ("torch", "tensorboard"):
            if find_spec(package) is None:
                raise ImportError(
                    f"TensorBoardLog needs {package}; pip install {package}, or write a table with "
                    "CSVLog."
                )
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(path))

    def __call__(self, event: Event) -> None:
        """Write the numbers of an epoch that has ended, at its step."""
        if event.kind == "metric":
            for name, value in event.metrics.items():
                self._writer.add_scalar(name, value, event.step)
            self._writer.flush()
