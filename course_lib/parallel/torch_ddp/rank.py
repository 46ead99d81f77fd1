"""One rank's part of a training of a PyTorch module.

Chapter: PyTorch DDP on Dask.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.checkpoint import prepare
from course_lib.early_stopping import best_epoch
from course_lib.evaluation import History
from course_lib.parallel.clock import Stopwatch
from course_lib.parallel.collectives import all_agree, all_reduce
from course_lib.parallel.strategies import Progress
from course_lib.parallel.torch_ddp.checkpoint import (
    Saved,
    from_arrays,
    load_parts,
    save_parts,
    to_arrays,
)
from course_lib.parallel.torch_ddp.context import Context
from course_lib.parallel.torch_ddp.describe import optimizer_words, training_words
from course_lib.parallel.torch_ddp.given import (
    made_module,
    not_finite,
    opened,
    pair,
    placed,
    row_values,
)
from course_lib.parallel.torch_ddp.judging import Judging, judge
from course_lib.parallel.torch_ddp.noise import seed_noise
from course_lib.parallel.torch_ddp.plan import ModuleEpoch, Plan
from course_lib.parallel.torch_ddp.reading import read
from course_lib.parallel.torch_ddp.sampler import Share, ShareSampler
from course_lib.parallel.torch_ddp.stepping import Stepper, autocast
from course_lib.parallel.training.recovery import check_same
from course_lib.training import check_finite

# Seconds between two signs of life within an epoch.
_PULSE = 0.5

# What noise is drawn for, the last number of its key.
_ROWS, _FORWARD, _HELD_OUT = range(3)


def train_rank(ctx: Context, plan: Plan) -> dict[str, Any]:
    """Train on this rank; return its results, the tensors from rank 0 only."""
    return _Training(ctx, plan).run()


class Losses:
    """The sum of the losses of an epoch, and the first step at which one was not finite.

    Asking a GPU for a number at every step would make the processor wait; without `ask`, all is
    kept on the device until the end of the epoch.
    """

    def __init__(self, device: torch.device, epoch: int, *, ask: bool, begin: float = 0.0) -> None:
        self._epoch, self._ask = epoch, ask
        self._total = torch.full((), begin, dtype=torch.float64, device=device)
        self._bad = torch.full((), math.inf, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, share: Share, step: int) -> None:
        """Count the sum of the losses of a share; before the others can see its gradient."""
        if not share.rows:
            return
        loss = loss.detach().double()
        if self._ask and not math.isfinite(loss.item()):
            if not_finite(share.data):
                raise FloatingPointError(
                    f"the loss is {loss.item()} at epoch {self._epoch}, step {step}: a row of this "
                    "batch holds NaN or infinity itself; remove or impute such rows first."
                )
            check_finite(loss.item(), self._epoch, step)
        self._bad = torch.where(loss.isfinite(), self._bad, self._bad.clamp(max=step))
        self._total += loss

    @property
    def own(self) -> float:
        """The sum over this rank's rows so far, each times its weight."""
        return self._total.item()

    def mean(self, ctx: Context, weight: float = 1.0) -> float:
        """Return the mean over the rows of all ranks, whose weights add up to `weight`."""
        bad = ctx.all_reduce(self._bad, "min").item()
        if math.isfinite(bad):
            check_finite(math.nan, self._epoch, int(bad))
        total: float = ctx.all_reduce(self._total).item()
        return total / weight


class _Best:
    """The weights and the optimizer's state of the best epoch so far, on rank 0."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.kept

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        self.kept = kept


class _Training:
    def __init__(self, ctx: Context, plan: Plan) -> None:
        self._ctx, self._plan, self._clock = ctx, plan, Stopwatch()
        seed_noise(plan.seed)
        torch.manual_seed(plan.seed)
        self._model = ctx.wrap(made_module(plan.module), **plan.ddp)
        self._stepper = Stepper(
            self._model.module, plan.optimizer, groups=plan.groups, schedule=plan.schedule,
            schedule_each=plan.schedule_each, clip=plan.clip, precision=plan.precision,
            device=ctx.device,
        )  # fmt: skip
        optimizer = optimizer_words(self._stepper.optimizer)
        self._stepper.begin()
        self._data = self._opened("dataset", plan.dataset, drop_last=plan.drop_last)
        self._held_out = None
        if plan.validation is not None:
            self._held_out = self._opened("validation", plan.validation)
        self._loss = placed(plan.loss, ctx.device)
        self._autocast = partial(autocast, plan.precision, ctx.device)
        functions = {"loss": self._loss}
        functions |= {name: placed(f, ctx.device) for name, f in plan.metrics.items()}
        self._judging = Judging(
            functions, plan.set_metrics, plan.batch_size, plan.loader, self._autocast
        )
        self._saves = plan.saving is not None or plan.begin is not None
        self._config: dict[str, str] = {}
        if self._saves:
            self._config = training_words(
                plan, optimizer, self._stepper, self._model.module, self._data, self._held_out
            )
        self._history: History = {}
        self._taken = 0
        self._best = _Best()
        self._told = time.monotonic()

    def _opened(self, name: str, dataset: Any, **options: Any) -> Any:
        dataset = opened(name, dataset)
        # Refuses what can not be shared, before anything is read.
        self._ctx.sampler(dataset, batch_size=self._plan.batch_size, **options)
        for given in ("weights", "draw") if name == "dataset" else ():
            numbers = getattr(self._plan, given)
            if numbers is not None and len(numbers) != len(dataset):
                raise ValueError(
                    f"train: {given} must be one number per row of the dataset, {len(dataset)}, "
                    f"got {len(numbers)}."
                )
        return dataset

    def run(self) -> dict[str, Any]:
        ctx, plan = self._ctx, self._plan
        start = self._resume()
        # A run that had ended, or would have stopped, has nothing left to do.
        ended = start.step == 0 and self._stops()
        epochs = range(start.epoch, start.epoch if ended else plan.epochs)
        if epochs and plan.saving is not None and ctx.rank == 0:
            prepare(plan.saving.directory)
        self._clock.lap("setup")
        for epoch in epochs:
            self._record(epoch, self._steps(epoch, start if epoch == start.epoch else Progress()))
            self._stepper.end_epoch()
            row = {name: values[-1] for name, values in self._history.items()}
            self._tell(epoch, "metric", row)
            self._call_back(epoch)
            stops = self._stops()
            self._clock.lap("evaluation")
            if plan.saving is not None and (
                stops or epoch + 1 == plan.epochs or plan.saving.due(self._taken, epoch_ends=True)
            ):
                self._save(epoch + 1, 0, 0.0)
            if stops:
                break
        return self._result()

    def _stops(self) -> bool:
        """Decide, all ranks together, whether the history says to stop."""
        history, stop = self._history, self._plan.stop
        return bool(history) and stop is not None and all_agree(self._ctx.comm, stop(history))

    def _sampler(self, epoch: int, first: int = 0) -> ShareSampler:
        plan, ctx = self._plan, self._ctx
        return ShareSampler(
            len(self._data), plan.batch_size, ctx.rank, ctx.size, seed=plan.seed, epoch=epoch,
            drop_last=plan.drop_last, accumulate=plan.accumulate, weights=plan.weights,
            draw=plan.draw, first=first,
        )  # fmt: skip

    def _shares(self, epoch: int, first: int = 0) -> Iterator[tuple[Share, int, bool]]:
        """Yield this rank's share of each piece, its step, and whether it is the step's last."""
        plan, ctx = self._plan, self._ctx
        # The same again after a restart, wherever in the epoch it begins.
        key = plan.seed, epoch, ctx.rank
        sampler = self._sampler(epoch, first)
        self._model.train()
        for data, piece in read(
            ctx.comm, ctx.device, self._data, sampler, plan.loader, (*key, _ROWS)
        ):
            weights = None
            if plan.weights is not None:
                own = plan.weights[piece.rows[: piece.own]]
                weights = torch.from_numpy(own).to(ctx.device)
            seed_noise(*key, _FORWARD, piece.number)
            share = Share(data, piece.own, piece.total, ctx.size, weights)
            yield share, piece.step, piece.ends

    def _forward(self, share: Share) -> Tensor:
        """Return the sum of the losses of a share."""
        inputs, targets = pair(share.data)
        rows = max(share.rows, 1)  # who has none computes with a stand-in
        own_step = self._plan.training_step
        try:
            with self._autocast():
                if own_step is None:
                    values = row_values(self._loss, self._model(inputs), targets, rows, "loss")
                else:
                    step = partial(own_step, self._model)
                    values = row_values(step, inputs, targets, rows, "training_step")
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"train: rank {self._ctx.rank} has one row of a batch of {share.total:g} rows, and "
                "BatchNorm has no variance of one row. Leave out a small last batch by "
                "drop_last=True, or take a larger batch_size, fewer workers, or LayerNorm."
            ) from error
        # A sum of many numbers of 16 bits would be one of few digits.
        half = values.dtype in (torch.bfloat16, torch.float16)
        return share.sum(values.float() if half else values)

    def _steps(self, epoch: int, start: Progress) -> float:
        """Take the steps of an epoch, from the given one on; return the mean loss."""
        ctx, saving = self._ctx, self._plan.saving
        losses = Losses(
            ctx.device, epoch, ask=ctx.device.type == "cpu", begin=start.loss(ctx.rank, ctx.size)
        )
        sampler = self._sampler(epoch)
        last = len(sampler.totals) - 1
        for share, step, ends in self._shares(epoch, start.step):
            self._clock.lap("input")
            ctx.comm.step = self._taken
            with nullcontext() if ends else self._model.no_sync():
                loss = self._forward(share)
                losses.add(loss, share, step)
                self._stepper.scaled(share.mean(loss)).backward()
            if ends:
                self._stepper.step(self._taken)
                self._taken += 1
                if time.monotonic() > self._told + _PULSE:
                    self._tell(epoch, "progress")
                if saving is not None and step < last and saving.due(self._taken):
                    self._clock.lap("compute")
                    self._save(epoch, step + 1, losses.own)
            self._clock.lap("compute")
        mean = losses.mean(ctx, sampler.epoch_weight())
        self._clock.lap("communication")
        return mean

    def _record(self, epoch: int, loss: float) -> None:
        """Append one epoch to the history; if it is the best so far, rank 0 keeps its weights."""
        plan, module = self._plan, self._model.module
        self._ctx.share_buffers(module)
        row = {"loss": loss}
        module.eval()
        if self._held_out is not None:
            key = plan.seed, epoch, self._ctx.rank, _HELD_OUT
            found = judge(self._ctx, module, self._held_out, self._judging, key)
            row |= {f"val_{name}": value for name, value in found.items()}
        for name, value in row.items():
            self._history.setdefault(name, []).append(value)
        metric, last = plan.keep_best, len(self._history["loss"]) - 1
        if metric is not None and self._ctx.rank == 0:
            if best_epoch(self._history, metric, better=plan.better, where="train") == last:
                self._best.kept = self._trained()

    def _call_back(self, epoch: int) -> None:
        if self._ctx.rank == 0:
            module, history = self._model.module, deepcopy(self._history)
            for callback in self._plan.callbacks:
                callback(ModuleEpoch(epoch, module, self._stepper.optimizer, history))

    def _parts(self) -> dict[str, Any]:
        kept = {} if self._plan.keep_best is None else {"best": self._best}
        return {"model": self._model, **self._stepper.parts(), **kept}

    def _save(self, epoch: int, step: int, loss: float) -> None:
        """Write a checkpoint, from which the given step comes next; `loss` is this rank's sum."""
        ctx, saving = self._ctx, self._plan.saving
        assert saving is not None
        losses = np.zeros(ctx.size)
        losses[ctx.rank] = loss
        all_reduce(ctx.comm, losses)  # adds only zeros: the parts keep their bits
        ctx.comm.check()  # another attempt may be writing by now
        if ctx.rank == 0:
            if not all(bool(p.isfinite().all()) for p in self._model.parameters()):
                # Saved, they would come back at each restart.
                raise FloatingPointError(
                    f"the parameters are not finite after {self._taken} steps: the training has "
                    "diverged; lower the learning rate. The checkpoint before is left as it is."
                )
            here = Progress(epoch, step, self._taken, losses.tolist(), self._history)
            meta = {"config": self._config, "progress": asdict(here)}
            path = save_parts(
                ctx.comm, saving.directory, self._parts(), None, step=self._taken, meta=meta,
                keep=saving.keep,
            )  # fmt: skip
            self._tell(epoch, "checkpoint", message=path)
        self._clock.lap("checkpoint")

    def _resume(self) -> Progress:
        """Go on from the last checkpoint, if there is one; return what comes next."""
        plan = self._plan
        if not self._saves:
            return Progress()
        where = plan.begin if plan.saving is None else plan.saving.directory
        assert where is not None

        def begin(found: Saved) -> None:
            check_same(self._config, found.meta.get("config"), found.step, where)
            if self._ctx.size > 2:
                self._first_pass()

        found = load_parts(
            self._ctx.comm, where, self._parts(), begin, begin=plan.begin, newest=plan.newest
        )
        if found is None:
            return Progress()
        here = Progress(**found.meta["progress"])
        self._taken, self._history = here.taken, deepcopy(here.history)
        if self._ctx.rank == 0:
            self._ctx.comm.report({"kind": "begin", "epoch": here.epoch, "step": here.taken})
        else:
            self._best.kept = {}
        return here

    def _first_pass(self) -> None:
        """Run what the first step of the training ran, but for the step itself.

        After it PyTorch fills its buckets in another order, in which three ranks and more get
        other last bits; a training that goes on must be past that, too.
        """
        share, *_ = next(iter(self._shares(0)))
        share.mean(self._forward(share)).backward()
        self._stepper.optimizer.zero_grad()

    def _tell(
        self, epoch: int, kind: str, metrics: Mapping[str, float] | None = None, message: str = ""
    ) -> None:
        """Report an event to the driver, see :class:`~course_lib.parallel.Event`."""
        self._told = time.monotonic()
        if self._ctx.rank == 0:
            event = {"epoch": epoch, "metrics": dict(metrics or {}), "kind": kind}
            self._ctx.comm.report({**event, "step": self._taken, "message": message})

    def _trained(self) -> dict[str, Any]:
        """Return what has been trained, on the processor."""
        model, optimizer = self._model.module.state_dict(), self._stepper.optimizer.state_dict()
        return {
            "state_dict": from_arrays(*to_arrays("model", model)),
            "optimizer_state": from_arrays(*to_arrays("optimizer", optimizer)),
        }

    def _result(self) -> dict[str, Any]:
        module = self._model.module
        found = hashlib.sha256()
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            found.update(name.encode() + to_arrays("", tensor)[1][""].tobytes())
        result: dict[str, Any] = {"digest": found.hexdigest(), "threads": torch.get_num_threads()}
        if self._ctx.rank == 0:
            result |= (self._best.kept or self._trained()) | {"history": self._history}
        self._clock.lap("evaluation")
        return result | {"seconds": self._clock.seconds, "sent": self._ctx.comm.counters}
