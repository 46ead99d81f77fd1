"""What a parallel run leaves, and a table of where each rank's time went.

Chapter: data parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from course_lib.arrays import Array, check_instance, check_sequence
from course_lib.evaluation import History
from course_lib.optimizers import State
from course_lib.parallel.comm import Counters

if TYPE_CHECKING:
    from course_lib.parallel.strategies import Applied


class Reported:
    """What every training leaves besides what it has trained: how its ranks fared."""

    timing: tuple[RankTiming, ...]
    digests: tuple[str, ...]
    seconds: float
    restarts: int

    @property
    def replicas_identical(self) -> bool:
        """Whether all ranks ended with the same bits."""
        return len(set(self.digests)) == 1

    def report(self, predict: Sequence[Predicted] | None = None) -> str:
        """Return a table: per rank, the shares of its time, and what it sent.

        Parameters
        ----------
        predict : sequence of Predicted, optional
            Of :func:`course_lib.parallel.predict`, to be put beside the seconds measured.

        Raises
        ------
        ValueError, TypeError
            If `predict` is for another number of ranks, or something else.
        """
        lines = [
            "rank  compute  communication  (waiting)  input  evaluation  total s  messages    MB"
        ]
        for rank, t in enumerate(self.timing):
            parts = (t.compute, t.communication, t.waiting, t.input, t.evaluation)
            share = [100 * part / t.total if t.total else 0.0 for part in parts]
            lines.append(
                f"{rank:4d}  {share[0]:5.0f} %  {share[1]:11.0f} %  {share[2]:7.0f} %  "
                f"{share[3]:3.0f} %  {share[4]:8.0f} %  {t.total:7.2f}  {t.messages:8d}  "
                f"{t.bytes / 1e6:4.2f}"
            )
        if predict is not None:
            lines += _beside(self.timing, predict)
        same = "yes" if self.replicas_identical else "NO"
        again = f"; restarts: {self.restarts}" if self.restarts else ""
        lines.append(f"replicas identical: {same}; whole call: {self.seconds:.2f} s{again}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TrainResult(Reported):
    """The outcome of :func:`~course_lib.parallel.train`.

    Attributes
    ----------
    theta : array, shape (n_params,)
        The trained parameters: of the last epoch, or with ``keep_best`` of the best.
    state : dict
        The optimizer's state at the end of the same epoch.
    history : dict of lists
        As of :func:`course_lib.training.fit`: one number per epoch.
    timing : tuple of RankTiming
        By rank.
    digests : tuple of str
        The sha256 of each rank's parameters at the end: equal, if the ranks were replicas.
    seconds : float
        The whole call, with starting workers and sending the data.
    restarts : int
        How often the ranks were started again after a failure.
    log : tuple of Applied
        Of a parameter server: all updates in their order, since the last start; else empty.

    Examples
    --------
    >>> import numpy as np
    >>> rank = RankTiming(1.4, 0.5, 0.25, 0.0, 2.0, 10, 8000, input=0.1)
    >>> print(TrainResult(np.zeros(1), {}, {}, (rank, rank), ("a", "a"), 2.5).report())
    rank  compute  communication  (waiting)  input  evaluation  total s  messages    MB
       0     70 %           25 %       12 %    5 %         0 %     2.00        10  0.01
       1     70 %           25 %       12 %    5 %         0 %     2.00        10  0.01
    replicas identical: yes; whole call: 2.50 s
    """

    theta: Array
    state: State
    history: History
    timing: tuple[RankTiming, ...]
    digests: tuple[str, ...]
    seconds: float
    restarts: int = 0
    log: tuple[Applied, ...] = ()

    @classmethod
    def of(cls, ranks: Sequence[RankResult], seconds: float, restarts: int) -> TrainResult:
        """Put together what the ranks handed back; rank 0 brings the parameters."""
        timing, digests = tuple(map(RankTiming.of, ranks)), tuple(rank.digest for rank in ranks)
        first = ranks[0]
        trained = first.theta, first.state, first.history
        return cls(*trained, timing, digests, seconds, restarts, first.log)


@dataclass(frozen=True)
class RankTiming:
    """What one rank did, in seconds and messages.

    Attributes
    ----------
    compute : float
        Gradients of its own rows, and optimizer steps.
    communication : float
        Inside collectives, waiting included.
    waiting : float
        Of that, for messages that had not been sent or had not arrived yet.
    evaluation : float
        Validation and bookkeeping between epochs.
    total : float
        From the start of this rank to its end.
    messages, bytes : int
        Sent by this rank; bytes of array data.
    input : float
        Shuffling, and reading rows: from memory, a file or another worker.

    Examples
    --------
    >>> import numpy as np
    >>> RankTiming.of(RankResult(np.zeros(0), {}, {}, "a", {"compute": 2.0}, Counters(1, 8))).total
    2.0
    """

    compute: float
    communication: float
    waiting: float
    evaluation: float
    total: float
    messages: int
    bytes: int
    input: float = 0.0

    @classmethod
    def of(cls, rank: RankResult) -> RankTiming:
        """Make the timing of one rank from what it handed back."""
        return cls.measured(rank.seconds, rank.sent)

    @classmethod
    def measured(cls, seconds: Mapping[str, float], sent: Counters) -> RankTiming:
        """Make the timing of one rank from its stopwatch and what it sent."""
        names = ("compute", "communication", "evaluation", "input")
        spent: dict[str, Any] = {name: seconds.get(name, 0.0) for name in names}
        return cls(**spent, **vars(sent), total=sum(seconds.values()))


class Predicted(NamedTuple):
    """What one rank should take, in seconds of the whole training.

    Attributes
    ----------
    compute, communication, waiting, input : float
        As measured by :class:`~course_lib.parallel.training.RankTiming`; waiting is a part of
        communication.
    """

    compute: float
    communication: float
    waiting: float = 0.0
    input: float = 0.0


class RankResult(NamedTuple):
    """What a rank hands back; parameters come from rank 0 (elsewhere empty), a hash from all."""

    theta: Array
    state: State
    history: History
    digest: str
    seconds: dict[str, float]
    sent: Counters
    log: tuple[Applied, ...] = ()


def _beside(timing: Sequence[RankTiming], predicted: Sequence[Predicted]) -> list[str]:
    """Return lines that put what was predicted beside what was measured, in seconds."""
    predicted = check_sequence(predicted, where="report", name="predict", of="Predicted")
    for told in predicted:
        check_instance(told, Predicted, where="report", name="each of predict")
    if len(timing) != len(predicted):
        raise ValueError(
            f"report: predict= is for {len(predicted)} ranks, but {len(timing)} were run; predict "
            "with the same workers=."
        )
    titles = ("compute", "communication", "(waiting)", "input")
    lines = ["seconds, predicted / measured:", "rank" + "".join(f"{t:>19s}" for t in titles)]
    for rank, (measured, told) in enumerate(zip(timing, predicted, strict=True)):
        pairs = [(getattr(told, name), getattr(measured, name)) for name in Predicted._fields]
        lines.append(f"{rank:4d}" + "".join(f"{p:10.3f} / {m:6.3f}" for p, m in pairs))
    return lines
