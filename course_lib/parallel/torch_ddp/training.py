"""Train any PyTorch module on any dataset with the workers of a Dask cluster.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from course_lib.arrays import check_callable, check_flag, check_integer
from course_lib.checkpoint import StrPath
from course_lib.evaluation import History, SetMetric
from course_lib.manifest import manifest_name
from course_lib.optimizers import Optimizer
from course_lib.parallel.clock import stored_within
from course_lib.parallel.doors import Among, check_among, check_client, check_timeout
from course_lib.parallel.launch import Relauncher, interruptible
from course_lib.parallel.torch_ddp.given import RowLoss
from course_lib.parallel.torch_ddp.plan import ModuleEpoch, Plan, checked, row_numbers
from course_lib.parallel.torch_ddp.rank import train_rank
from course_lib.parallel.torch_ddp.runner import OnGroup
from course_lib.parallel.training import Event, RankTiming
from course_lib.parallel.training.driver import more_can_join, survive
from course_lib.parallel.training.events import Listener
from course_lib.parallel.training.prepare import ranks_between
from course_lib.parallel.training.recovery import chosen_point, saving
from course_lib.parallel.training.result import Reported

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class TorchResult(Reported):
    """What a training leaves, on the processor, whatever it ran on.

    Attributes
    ----------
    state_dict : dict of str to Tensor
        For ``module.load_state_dict``: of the last epoch, or with ``keep_best`` of the best.
    optimizer_state : dict
        For ``optimizer.load_state_dict``, at the end of the same epoch.
    history : dict of str to list of float
        ``loss``, and with validation data ``val_loss`` and ``val_`` with each metric: one number
        per epoch.
    digests : tuple of str
        By rank, the SHA-256 sum of its parameters and buffers at the end.
    restarts : int
        How often the ranks had to start again after a failure.
    threads : tuple of int
        By rank, with how many threads PyTorch computed: those of its worker. With other numbers
        the last bits may be others.
    timing : tuple of RankTiming
        By rank, since the last start. DDP adds gradients during the backward pass, which counts as
        compute; the messages are those over Dask's connections.
    seconds : float
        The whole call, with starting workers and sending the data.
    """

    state_dict: dict[str, Tensor]
    optimizer_state: dict[str, Any]
    history: History
    digests: tuple[str, ...]
    restarts: int
    threads: tuple[int, ...]
    timing: tuple[RankTiming, ...] = ()
    seconds: float = field(default=0.0, compare=False)


@interruptible("train")
def train(
    module: nn.Module | Callable[[], nn.Module],
    dataset: Dataset[Any] | Callable[[], Dataset[Any]],
    loss: RowLoss,
    optimizer: Optimizer | Callable[[Any], torch.optim.Optimizer],
    *,
    epochs: int,
    batch_size: int,
    workers: int | tuple[int, int] = 2,
    client: Client | str | None = None,
    among: Among = None,
    device: str = "auto",
    seed: int = 0,
    drop_last: bool = False,
    draw: Any = None,
    weights: Any = None,
    accumulate: int = 1,
    groups: Callable[[Iterator[tuple[str, nn.Parameter]]], list[dict[str, Any]]] | None = None,
    schedule: Callable[[torch.optim.Optimizer], LRScheduler] | None = None,
    schedule_each: str = "step",
    clip: float | None = None,
    precision: str = "float32",
    training_step: Callable[[nn.Module, Any, Any], Tensor] | None = None,
    validation: Dataset[Any] | Callable[[], Dataset[Any]] | None = None,
    metrics: Mapping[str, RowLoss] | None = None,
    set_metrics: Mapping[str, SetMetric] | None = None,
    stop: Callable[[History], bool] | None = None,
    keep_best: str | None = None,
    better: str | None = None,
    callbacks: Iterable[Callable[[ModuleEpoch], object]] = (),
    checkpoint: StrPath | None = None,
    every: int | None = None,
    keep: int = 3,
    resume: StrPath = "auto",
    max_restarts: int = 2,
    timeout: float = 60.0,
    on_event: Callable[[Event], None] | None = None,
    progress: bool = False,
    loader: Mapping[str, Any] | None = None,
    ddp: Mapping[str, Any] | None = None,
) -> TorchResult:
    """Train with PyTorch's DistributedDataParallel; the result is that of one process.

    The global batches and the gradients, up to rounding, do not depend on the number of workers.
    (Layers with noise or with statistics of the batch do: each rank has its own. Buffers, such as
    the running means of BatchNorm, are those of rank 0, also where held-out rows are judged.)

    What stands in :func:`course_lib.parallel.train` too means the same here.

    Parameters
    ----------
    module : nn.Module or callable
        What to train, or what makes it, called on each worker; rank 0's weights count. A training
        that is to go on must begin with the same: let `module` make them, or seed PyTorch before.
    dataset : Dataset or callable
        Rows are pairs (inputs, target), each of which may be a dict or a tuple of tensors. A
        function or a class opens it on each worker: do so for data too large to be sent. It has a
        length and rows; an ``IterableDataset`` can not be shared by rows and is refused.
    loss : callable
        ``loss(outputs, targets)`` returns one number per row, not more: ``reduction="none"``, and
        the mean over what belongs to one row. Minimised is the mean over the global batch. Tensors
        in it (weights of classes) are moved to the device.
    optimizer : Optimizer or callable
        How to step: one of :mod:`course_lib.optimizers`, or what makes one of PyTorch's from the
        parameters (or from `groups`), such as ``partial(torch.optim.Adam, lr=1e-3)``.
    epochs : int
        Passes over the data.
    batch_size : int
        Rows per step. They are those of all ranks together (the GLOBAL batch).
    workers : int or (int, int)
        The number of ranks; or the least and the most: each start and restart takes as many as
        there are workers. Torchrun calls it ``world_size``.
    client : Client or str, optional
        A Dask client, or the address of a scheduler; without, `workers` processes are started on
        this machine and closed at the end.
    among : sequence of str or dict, optional
        Which workers of the cluster may be taken: those of these addresses, or those that have
        these resources (``{"GPU": 1}``, of ``dask worker --resources "GPU=1"``). One that is
        started again has its resources, but another address.
    device : {"auto", "cpu", "cuda"}
        Where PyTorch computes: ``"auto"`` is one GPU for each rank if there are GPUs, processors
        if there is none.
    timeout : float
        Seconds that any one wait may take; the run as a whole may take longer.
    seed : int
        Decides the order of the rows, and noise: what the module and the dataset draw from
        PyTorch's, NumPy's and Python's global generators, which are seeded for each rank, epoch
        and step; and the first weights, if `module` makes them. The same seed and number of
        workers give the same bits.
    drop_last : bool
        Leave out the last batch of an epoch if it is smaller than the others: BatchNorm can not
        do with one row on a rank.
    draw : array, shape (n,), optional
        How often each row is drawn, relative to the others (``WeightedRandomSampler``): an epoch
        is n draws with replacement, the same for any number of workers. By default an epoch is a
        permutation.
    weights : array, shape (n,), optional
        How much each row counts (``sample_weight``): the sum of the weighted losses of a global
        batch is divided by the sum of its weights. Held-out rows count alike.
    accumulate : int
        In how many pieces a global batch is cut that are run one after the other
        (``gradient_accumulation_steps``); the gradients are those of one piece, and are exchanged
        once. `batch_size` counts all pieces together.
    groups : callable, optional
        Makes of ``module.named_parameters()`` the groups that the optimizer gets, such as one
        without decay for biases: ``[{"params": ..., "weight_decay": 0.0}, ...]``.
    schedule : callable, optional
        Makes of the optimizer a learning-rate scheduler of PyTorch's:
        ``partial(OneCycleLR, max_lr=0.1, total_steps=1000)``. An epoch has
        ``ceil(n / batch_size)`` steps, one less with a batch that `drop_last` leaves out.
    schedule_each : {"step", "epoch"}
        After what it goes on.
    clip : float, optional
        The largest norm of the gradient: a longer one, of all parameters together and after the
        ranks' are added, is shortened (``gradient_clip_val``, ``clip_grad_norm_``).
    precision : {"float32", "bfloat16", "float16"}
        In what autocast computes forward passes and losses (``mixed_precision``), also of held-out
        rows. Parameters keep their type, and a module in double precision computes in that.
        float16 scales the loss, and skips a step whose gradients were too large for it, which then
        changes nothing.
    training_step : callable, optional
        ``training_step(module, inputs, targets)`` returns one number per row, in place of
        ``loss(module(inputs), targets)``; `loss` still judges held-out rows.
    validation : Dataset or callable, optional
        Held-out data, evaluated after each epoch.
    metrics : dict of str to callable, optional
        More than the loss to judge by, in the same form: one number, or True or False, per row, of
        which the mean is taken.
    set_metrics : dict of str to callable, optional
        What is no mean over rows (AUC, F1): ``f(outputs, targets)`` gets those of all held-out
        rows at once, in their order, on the processor of rank 0, and returns one number.
    stop : callable, optional
        Called with the history after each epoch; training ends when all ranks say True. One that
        goes on asks before its first.
    keep_best : str, optional
        A key of the history, such as ``"val_loss"``: the result's weights and optimizer state are
        those of the epoch in which it was best, instead of the last.
    better : {"lower", "higher"}, optional
        Which values of it are better. Needed unless the name ends in "loss" (lower) or "accuracy"
        (higher).
    callbacks : iterable of callables, optional
        Called with what an epoch has left: a
        :class:`~course_lib.parallel.torch_ddp.ModuleEpoch`, on rank 0, in the worker's process. An
        epoch that is run again after a failure is shown again; `on_event` hears of each once.
    checkpoint : path, optional
        A folder for this training, seen by this process and by the workers. A relative one begins
        where this process works. When a worker is lost or silent, all ranks start again from the
        newest checkpoint in it, and so does a later call. Only `epochs`, `stop`, `callbacks`,
        `workers`, when to save and where it runs may differ then. With as many workers of as many
        threads, the bits on processors are those of a training without a break.
    every : int, optional
        Steps from one checkpoint to the next; by default there is one after each epoch.
    keep : int
        How many checkpoints are left.
    resume : {"auto", "never"} or path
        Whether to go on from the newest checkpoint of the folder if there is one, or from a given
        checkpoint or folder.
    max_restarts : int
        How many failures to survive.
    on_event : callable, optional
        Called in this process with each :class:`~course_lib.parallel.Event`: an epoch has
        ended, a checkpoint was written, a worker was lost, ....
    progress : bool
        Show a progress bar.
    loader : dict, optional
        More options of ``DataLoader``: ``{"num_workers": 2}``.
    ddp : dict, optional
        Options of ``DistributedDataParallel``: ``{"find_unused_parameters": True}``.

    Returns
    -------
    TorchResult

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.
    CheckpointMismatch
        If the checkpoint found is of another training: its module, loss, optimizer, data, ...
        differ.
    CheckpointError
        If `resume` names something that is not a valid checkpoint.
    ParallelError
        See :func:`~course_lib.parallel.torch_ddp.run`; what the training itself raises (a loss
        that is not finite, a loss that is one number) is the cause of a ``RankFailed``.

    Examples
    --------
    >>> from functools import partial
    >>> from torch.utils.data import TensorDataset
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> data, loss = TensorDataset(x, 3 * x + 1), nn.MSELoss(reduction="none")
    >>> options = {"epochs": 50, "batch_size": 5, "device": "cpu"}
    >>> result = train(nn.Linear(1, 1), data, loss, partial(torch.optim.SGD, lr=0.1), **options)
    >>> round(result.state_dict["weight"].item(), 2), round(result.state_dict["bias"].item(), 2)
    (3.0, 1.0)
    >>> result.replicas_identical
    True
    """
    start = time.perf_counter()
    between = ranks_between(workers)
    timeout = check_timeout(timeout, where="train")
    check_client(client, threads=False, where="train")
    among = check_among(among, client, where="train")
    if on_event is not None:
        check_callable(on_event, where="train", name="on_event", takes=("event",))
    progress = check_flag(progress, where="train", name="progress")
    max_restarts = check_integer(max_restarts, where="train", name="max_restarts", at_least=0)
    plan = checked(Plan(
        module=module, dataset=dataset, loss=loss, optimizer=optimizer, epochs=epochs,
        batch_size=batch_size, seed=seed, drop_last=drop_last, draw=row_numbers(draw, "draw"),
        weights=row_numbers(weights, "weights"), accumulate=accumulate, groups=groups,
        schedule=schedule, schedule_each=schedule_each, clip=clip, precision=precision,
        training_step=training_step, validation=validation, metrics=dict(metrics or {}),
        set_metrics=dict(set_metrics or {}), stop=stop, keep_best=keep_best, better=better,
        callbacks=tuple(callbacks), saving=saving(checkpoint, every, keep),
        loader=dict(loader or {}), ddp=dict(ddp or {}),
    ))  # fmt: skip
    plan = stored_within(
        timeout, "looking for a checkpoint to go on from", lambda: _from(plan, resume)
    )
    program = OnGroup(train_rank, device, os.getcwd())
    with Listener(on_event, epochs=epochs, progress=progress) as listener, Relauncher(
        client, between, timeout=timeout, among=among
    ) as cluster:  # fmt: skip
        ranks, restarts = _run(cluster, program, plan, listener, max_restarts)
    first = ranks[0]
    return TorchResult(
        first["state_dict"], first["optimizer_state"], first["history"],
        digests=tuple(rank["digest"] for rank in ranks), restarts=restarts,
        threads=tuple(rank["threads"] for rank in ranks),
        timing=tuple(RankTiming.measured(rank["seconds"], rank["sent"]) for rank in ranks),
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _from(plan: Plan, resume: StrPath) -> Plan:
    """Return the plan that begins where ``resume=`` says; rank 0 reads what is to be read."""
    if isinstance(resume, str) and resume == "auto":
        return plan
    found = chosen_point(resume, plan.saving)
    if found is None:
        return plan
    where, point = found
    path = Path(where).absolute()
    manifest = path / manifest_name(point.step) if path.is_dir() else path
    return replace(plan, begin=str(manifest), newest=False)


def _run(
    cluster: Relauncher, program: OnGroup, plan: Plan, listener: Listener, max_restarts: int
) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Run all ranks; after a failure, go on from the last checkpoint, if any."""
    begun = 0

    def hear(message: Mapping[str, Any]) -> None:
        nonlocal begun
        if message["kind"] == "begin":  # rank 0 has read a checkpoint
            begun = message["step"]
            listener.resume(message["epoch"])
        else:
            listener(message)

    def attempt() -> list[Any]:
        regroup = more_can_join(plan.epochs)
        return cluster.launch((program, (plan,), {}), on_report=hear, regroup=regroup)

    def again() -> int:
        nonlocal plan
        # What this training has saved comes before what it began with.
        plan = replace(plan, newest=plan.saving is not None)
        return begun if listener.saved is None else listener.saved

    return survive(
        attempt, again, max_restarts=max_restarts, listener=listener, repair=cluster.repair,
        saves=plan.saving is not None,
    )  # fmt: skip
