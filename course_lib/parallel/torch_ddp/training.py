"""Train any PyTorch module on any dataset with the workers of a Dask cluster.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset

from course_lib.arrays import check_integer
from course_lib.checkpoint import StrPath
from course_lib.evaluation import History
from course_lib.parallel.torch_ddp.rank import Plan, RowLoss, train_rank
from course_lib.parallel.torch_ddp.runner import RankEvent, run

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class TorchResult:
    """What a training leaves, on the processor, whatever it ran on.

    Attributes
    ----------
    state_dict : dict of str to Tensor
        For ``module.load_state_dict``.
    optimizer_state : dict
        For ``optimizer.load_state_dict``.
    history : dict of str to list of float
        ``loss``, and with validation data ``val_loss`` and ``val_`` with each metric: one number
        per epoch.
    digests : tuple of str
        By rank, the SHA-256 sum of its parameters.
    restarts : int
        How often the ranks had to start again.
    """

    state_dict: dict[str, torch.Tensor]
    optimizer_state: dict[str, Any]
    history: History
    digests: tuple[str, ...]
    restarts: int

    @property
    def replicas_identical(self) -> bool:
        """Whether all ranks ended with the same bits."""
        return len(set(self.digests)) == 1


def train(
    module: nn.Module | Callable[[], nn.Module],
    dataset: Dataset[Any] | Callable[[], Dataset[Any]],
    loss: RowLoss,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    *,
    epochs: int,
    batch_size: int,
    workers: int = 2,
    client: Client | str | None = None,
    device: str = "auto",
    seed: int = 0,
    validation: Dataset[Any] | Callable[[], Dataset[Any]] | None = None,
    metrics: Mapping[str, RowLoss] | None = None,
    stop: Callable[[History], bool] | None = None,
    checkpoint: StrPath | None = None,
    every: int = 1,
    keep: int = 3,
    max_restarts: int = 2,
    timeout: float = 60.0,
    on_event: Callable[[RankEvent], None] | None = None,
    loader: Mapping[str, Any] | None = None,
) -> TorchResult:
    """Train with PyTorch's DistributedDataParallel; the result is that of one process.

    The global batches and the gradients, up to rounding, do not depend on the number of workers.
    (Layers with noise or with statistics of the batch do: each rank has its own.)

    Parameters
    ----------
    module : nn.Module or callable
        What to train, or what makes it, called on each worker; rank 0's weights count.
    dataset : Dataset or callable
        Rows are pairs (inputs, target). A callable opens it on each worker: do so for data too
        large to be sent.
    loss : callable
        ``loss(outputs, targets)`` returns one number per row: ``reduction="none"``. Minimised is
        the mean over the global batch.
    optimizer : callable
        Makes it from the parameters: ``partial(torch.optim.Adam, lr=1e-3)``.
    epochs : int
        Passes over the data.
    batch_size : int
        Of the global batch.
    workers, client, device, timeout, on_event
        See :func:`~course_lib.parallel.torch_ddp.run`.
    seed : int
        Of the batches, the first weights (if `module` makes them) and noise.
    validation : Dataset or callable, optional
        Rows to judge by after each epoch.
    metrics : dict of str to callable, optional
        More than the loss to judge by, in the same form: one number, or True or False, per row.
    stop : callable, optional
        Shown the history after each epoch; True ends the training on all ranks.
    checkpoint : path, optional
        A folder to save to, and to go on from if there is a checkpoint in it. All machines that
        may get rank 0 must see it.
    every, keep : int
        Epochs between checkpoints, and how many to keep.
    max_restarts : int
        How often to go on from the checkpoint when a worker is lost; without a folder, never.
    loader : dict, optional
        Options of ``DataLoader``: ``{"num_workers": 2}``.

    Returns
    -------
    TorchResult

    Raises
    ------
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
    for name, value, least in (
        ("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0),
        ("every", every, 1), ("keep", keep, 1), ("max_restarts", max_restarts, 0),
    ):  # fmt: skip
        check_integer(value, where="train", name=name, at_least=least)
    plan = Plan(
        module=module, dataset=dataset, loss=loss, optimizer=optimizer, epochs=epochs,
        batch_size=batch_size, seed=seed, validation=validation, metrics=dict(metrics or {}),
        stop=stop, checkpoint=checkpoint, every=every, keep=keep, loader=dict(loader or {}),
    )  # fmt: skip
    restarts = 0

    def hear(event: RankEvent) -> None:
        nonlocal restarts
        restarts += event.kind == "restart"
        if on_event is not None:
            on_event(event)

    results = run(
        train_rank, plan, workers=workers, client=client, device=device, timeout=timeout,
        max_restarts=max_restarts if checkpoint is not None else 0, on_event=hear,
    )  # fmt: skip
    first, digests = results[0], tuple(result["digest"] for result in results)
    trained = first["state_dict"], first["optimizer_state"], first["history"]
    return TorchResult(*trained, digests, restarts)
