"""A whole training on several ranks: the driver, what each rank executes, and the restarts.

Chapter: data parallelism.
"""

from __future__ import annotations

from course_lib.parallel.training.driver import train
from course_lib.parallel.training.events import Event
from course_lib.parallel.training.logs import CSVLog, LogEvents, TensorBoardLog, together
from course_lib.parallel.training.predicted import predict
from course_lib.parallel.training.result import Predicted, RankResult, RankTiming, TrainResult

__all__ = [
    "CSVLog",
    "Event",
    "LogEvents",
    "Predicted",
    "RankResult",
    "RankTiming",
    "TensorBoardLog",
    "TrainResult",
    "predict",
    "together",
    "train",
]
