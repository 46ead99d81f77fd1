"""Use a trained PyTorch module on a cluster: its outputs for many rows, and how well it does.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Dataset

from course_lib.arrays import check_integer
from course_lib.evaluation import SetMetric
from course_lib.parallel.torch_ddp.context import Context
from course_lib.parallel.torch_ddp.given import RowLoss, made_module, opened, placed
from course_lib.parallel.torch_ddp.judging import Judging, judge, outputs_of
from course_lib.parallel.torch_ddp.runner import run
from course_lib.parallel.torch_ddp.stepping import PRECISIONS, autocast
from course_lib.registry import lookup

if TYPE_CHECKING:
    from distributed import Client


def predict(
    module: nn.Module | Callable[[], nn.Module],
    dataset: Dataset[Any] | Callable[[], Dataset[Any]],
    *,
    batch_size: int = 256,
    workers: int = 2,
    client: Client | str | None = None,
    device: str = "auto",
    precision: str = "float32",
    timeout: float = 60.0,
    loader: Mapping[str, Any] | None = None,
) -> Any:
    """Return what a module answers to all rows of a dataset, in their order.

    Parameters
    ----------
    module : nn.Module or callable
        Used in ``eval()`` mode; rank 0's weights count, if `module` makes it.
    dataset : Dataset or callable
        Rows are pairs (inputs, target), of which the target is not looked at, or inputs alone,
        which then are no pair.
    batch_size : int
        How many rows all ranks together look at, at once.
    workers, client, device, timeout
        See :func:`~course_lib.parallel.torch_ddp.run`.
    precision, loader
        See :func:`~course_lib.parallel.torch_ddp.train`; numbers of 16 bits come back in 32.

    Returns
    -------
    Tensor, or dict or tuple of tensors
        On the processor.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> double = nn.Linear(1, 1, bias=False)
    >>> double.load_state_dict({"weight": torch.tensor([[2.0]])})
    <All keys matched successfully>
    >>> predict(double, TensorDataset(torch.tensor([[1.0], [5.0], [3.0]])), device="cpu").tolist()
    [[2.0], [10.0], [6.0]]
    """
    how = _how("predict", {}, {}, batch_size, precision, loader)
    found: Any = run(
        _predict_rank, module, dataset, how, precision,
        workers=workers, client=client, device=device, timeout=timeout,
    )[0]  # fmt: skip
    return found


def evaluate(
    module: nn.Module | Callable[[], nn.Module],
    dataset: Dataset[Any] | Callable[[], Dataset[Any]],
    loss: RowLoss,
    *,
    metrics: Mapping[str, RowLoss] | None = None,
    set_metrics: Mapping[str, SetMetric] | None = None,
    batch_size: int = 256,
    workers: int = 2,
    client: Client | str | None = None,
    device: str = "auto",
    precision: str = "float32",
    timeout: float = 60.0,
    loader: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Return how well a module does on a dataset: what ``train`` says of its held-out rows.

    Parameters
    ----------
    module, dataset : nn.Module, Dataset; or callables
        As for :func:`predict`, with targets.
    loss, metrics, set_metrics, precision, loader
        See :func:`~course_lib.parallel.torch_ddp.train`.
    batch_size, workers, client, device, timeout
        See :func:`predict`.

    Returns
    -------
    dict of str to float
        ``loss``, and each metric by its name.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> same, x = nn.Identity(), torch.tensor([[1.0], [2.0], [6.0]])
    >>> data, loss = TensorDataset(x, x + torch.tensor([[0.0], [0.0], [3.0]])), nn.L1Loss
    >>> evaluate(same, data, loss(reduction="none"), device="cpu")
    {'loss': 1.0}
    """
    functions = {"loss": loss, **(metrics or {})}
    how = _how("evaluate", functions, set_metrics or {}, batch_size, precision, loader)
    found: dict[str, float] = run(
        _evaluate_rank, module, dataset, how, precision,
        workers=workers, client=client, device=device, timeout=timeout,
    )[0]  # fmt: skip
    return found


def _how(
    where: str, functions: Mapping[str, RowLoss], wholes: Mapping[str, SetMetric],
    batch_size: int, precision: str, loader: Mapping[str, Any] | None,
) -> Judging:  # fmt: skip
    check_integer(batch_size, where=where, name="batch_size", at_least=1)
    lookup("precision", precision, dict.fromkeys(PRECISIONS))
    for name, function in {**functions, **wholes}.items():
        if not callable(function):
            raise TypeError(f"{where}: {name} must be callable, got {type(function).__name__}.")
    return Judging(functions, wholes, batch_size, dict(loader or {}))


def _ready(
    ctx: Context, module: Any, dataset: Any, how: Judging, precision: str
) -> tuple[nn.Module, Any, Judging]:
    """Return the module with rank 0's weights, the dataset, and what is measured on the device."""
    made = made_module(module).to(ctx.device).eval()
    for part in made.state_dict().values():
        if isinstance(part, Tensor):
            dist.broadcast(part, 0)
    data = opened("dataset", dataset)
    ctx.sampler(data, batch_size=how.batch_size)  # refuses what can not be shared by rows
    functions = {name: placed(f, ctx.device) for name, f in how.functions.items()}
    block = partial(autocast, precision, ctx.device)
    return made, data, Judging(functions, how.wholes, how.batch_size, how.loader, block)


def _predict_rank(ctx: Context, module: Any, dataset: Any, how: Judging, precision: str) -> Any:
    return outputs_of(ctx, *_ready(ctx, module, dataset, how, precision))


def _evaluate_rank(
    ctx: Context, module: Any, dataset: Any, how: Judging, precision: str
) -> dict[str, float]:
    return judge(ctx, *_ready(ctx, module, dataset, how, precision), (0, 0, ctx.rank))
