"""Every public door of the parallel part refuses what means nothing, before anything is started."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot

from course_lib import SGD, mlp
from course_lib.checkpoint import CheckpointError
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    SyncSGD,
    TensorParallel,
    TopK,
    VirtualShards,
    ZeRO1,
    cost,
    predict,
    schedules,
    search,
    strategies,
    train,
)
from course_lib.parallel.faults import Faults
from tests.doors import (
    EMPTY,
    FLAG,
    INTEGER,
    NAME,
    NUMBER,
    NUMBER0,
    ONLY,
    OPTIONAL,
    POSITIVE,
    WHOLE,
    WHOLE0,
    Door,
    check_all,
    door,
    every_argument,
    left_out,
)

NET = mlp([2, 3, 2])
THETA = NET.init(np.random.default_rng(0))
X, Y = np.random.default_rng(1).normal(size=(6, 2)), np.arange(6) % 2
CHANNEL = cost.AlphaBeta(1e-3, 1e-9)
PLAN = schedules.gpipe(2, 2)
AX = pyplot.subplots()[1]
RUN = schedules.simulate(PLAN)
SPACE = {"lr": [0.1, 0.01]}
INSIDE = {"comm": ("inprocess", NAME)}


def score(trial: search.Trial) -> float:
    return -float(trial.config["lr"])


def build(config: dict[str, Any]) -> search.Candidate:
    return search.Candidate(NET, SGD(config["lr"]), 3)


OPTIONS = {
    "seed": (0, WHOLE0), "workers": (1, OPTIONAL), "client": (None, OPTIONAL), **INSIDE,
    "retries": (0, WHOLE0), "timeout": (5.0, POSITIVE), "on_event": (None, OPTIONAL),
    "progress": (False, FLAG),
}  # fmt: skip
P, N = (2, WHOLE), (100, NUMBER0)
TRAIN = {
    "model": (NET, ONLY), "data": ((X, Y), ONLY, "data|targets|x|y|shards"),
    "optimizer": (SGD(0.1), ONLY), "epochs": (1, WHOLE), "batch_size": (3, WHOLE),
    "workers": (1, WHOLE), "client": (None, OPTIONAL), "theta": (THETA, OPTIONAL),
    "timeout": (20, POSITIVE),
}  # fmt: skip

DOORS = [
    # What it costs.
    door(cost.amdahl, serial_fraction=(0.1, NUMBER0), p=P),
    door(cost.gustafson, serial_fraction=(0.1, NUMBER0), p=P),
    door(cost.karp_flatt, speedup=(1.5, POSITIVE), workers=(2, WHOLE)),
    door(cost.zero_memory, n_params=(9, WHOLE), p=P, stage=(1, WHOLE0), dtype=(float, OPTIONAL),
         optimizer_vectors=(2, WHOLE0)),
    door(cost.pipeline_bubble, stages=P, micro_batches=P),
    door(cost.checkpoint_interval, checkpoint_seconds=(2, POSITIVE), mtbf_seconds=(9, POSITIVE)),
    door(cost.predict_step, compute_seconds=(1.0, POSITIVE), p=P, n_params=(9, WHOLE),
         channel=(CHANNEL, ONLY), dtype=(float, ONLY), algorithm=("ring", NAME),
         scaling=("weak", NAME), repeated_seconds=(0.5, NUMBER0)),
    door(cost.AlphaBeta, alpha=(1.0, NUMBER0), beta=(1.0, NUMBER0)),
    door(CHANNEL.message, n=N),
    *(door(f, p=P, n=N) for f in (CHANNEL.broadcast, CHANNEL.reduce_scatter, CHANNEL.all_gather)),
    door(CHANNEL.all_reduce, p=P, n=N, algorithm=("ring", NAME)),
    door(CHANNEL.crossover, p=P),
    door(cost.fit_alpha_beta, measurements=([(0, 1e-3), (9, 2e-3)], ONLY)),
    door(cost.traffic, p=P, n=N, algorithm=("ring", NAME)),
    # Pipelines.
    door(schedules.Action, stage=(0, WHOLE0), kind=("F", NAME), micro=(0, WHOLE0)),
    door(schedules.Action.parse, text=("0F0", NAME)),
    door(schedules.Action(0, "F", 0).needs, stages=P),
    door(schedules.gpipe, stages=P, micro_batches=P),
    door(schedules.one_f_one_b, stages=P, micro_batches=P),
    door(schedules.parse, text=("0F0", frozenset({"no text"}))),
    door(schedules.table, schedule=(PLAN, EMPTY), faults=(None, OPTIONAL | {"dict"})),
    door(schedules.check, schedule=(PLAN, ONLY)),
    door(schedules.simulate, schedule=(PLAN, ONLY), forward=(1, POSITIVE), backward=(2, POSITIVE),
         send=(0, NUMBER0)),
    door(schedules.timeline, simulation=(RUN, ONLY)),
    door(schedules.draw, simulation=(RUN, ONLY), ax=(AX, OPTIONAL)),
    # Search.
    door(search.Uniform, low=(-2, NUMBER), high=(2, NUMBER)),
    door(search.LogUniform, low=(0.1, POSITIVE), high=(2, POSITIVE)),
    door(search.Integers, low=(-2, INTEGER), high=(2, INTEGER)),
    door(search.sample, space=(SPACE, ONLY), n=(2, WHOLE), seed=(0, WHOLE0)),
    door(search.halving_rungs, n=(9, WHOLE), min_budget=(1, WHOLE), eta=(3, WHOLE)),
    door(search.hyperband_brackets, max_budget=(9, WHOLE), eta=(3, WHOLE)),
    door(search.grid, objective=(score, ONLY), space=(SPACE, ONLY), budget=(1, WHOLE), **OPTIONS),
    door(search.random, objective=(score, ONLY), space=(SPACE, ONLY), n=(2, WHOLE),
         budget=(1, WHOLE), **OPTIONS),
    door(search.successive_halving, objective=(score, ONLY), space=(SPACE, ONLY), n=(3, WHOLE),
         min_budget=(1, WHOLE), eta=(3, WHOLE), **OPTIONS),
    door(search.hyperband, objective=(score, ONLY), space=(SPACE, ONLY), max_budget=(3, WHOLE),
         eta=(3, WHOLE), **OPTIONS),
    door(search.fit_objective, build=(build, ONLY), data=((X, Y), ONLY),
         held_out=(0.5, POSITIVE), seed=(0, WHOLE0)),
    door(search.fit_objective(build, (X, Y)), called="FitObjective(...)",
         trial=(search.Trial(0, {"lr": 0.1}, 0, 1), ONLY)),
    # How the ranks work together.
    *(door(kind, algorithm=("auto", NAME)) for kind in (SyncSGD, ZeRO1, TensorParallel)),
    door(LocalSGD, h=(2, WHOLE), algorithm=("auto", NAME)),
    door(AsyncParameterServer, staleness=(1, WHOLE0)),
    door(Compressed, codec=(Int8(), ONLY), error_feedback=(True, FLAG)),
    door(TopK, fraction=(0.1, POSITIVE)),
    door(PowerSGD, rank=(2, WHOLE)),
    door(VirtualShards, shards=(8, WHOLE, "shards|virtual_shards")),
    door(Pipeline, stages=(2, WHOLE), micro_batches=(2, WHOLE), schedule=("gpipe", NAME),
         bounds=((2,), OPTIONAL)),
    door(Mesh, data=(1, WHOLE), pipeline=(2, WHOLE), tensor=(1, WHOLE), micro_batches=(1, WHOLE),
         schedule=("1f1b", NAME), bounds=((2,), OPTIONAL), algorithm=("auto", NAME)),
    door(strategies.parse, text=("sync", NAME, "text|strategy")),
    door(strategies.balanced_bounds, net=(NET, ONLY), stages=(2, WHOLE), together=(1, WHOLE)),
    door(strategies.grid, called="strategies.grid", data=P, pipeline=P, tensor=P),
    door(strategies.sums_per_step, net=(NET, ONLY)),
    door(Faults, delay=(0.0, NUMBER0), death=({}, ONLY), seed=(0, WHOLE0)),
    # Training.
    door(train, raises=CheckpointError, **TRAIN, among=(None, OPTIONAL, "among|client"),
         strategy=("sync", NAME), comm=("inprocess", NAME),
         backend=("numpy", NAME), virtual_shards=(None, OPTIONAL, "shards"), seed=(0, WHOLE0),
         shuffle=(True, FLAG),
         checkpoint=(None, OPTIONAL | {"text"}), every=(None, OPTIONAL), keep=(3, WHOLE),
         resume=("auto", ONLY), max_restarts=(0, WHOLE0),
         validation=(None, OPTIONAL, "validation|shards"), stop=(None, OPTIONAL),
         weights=(None, OPTIONAL), clip=(None, POSITIVE | OPTIONAL),
         set_metrics=(None, OPTIONAL), keep_best=(None, OPTIONAL), better=(None, OPTIONAL),
         callbacks=([], EMPTY), on_event=(None, OPTIONAL), progress=(False, FLAG)),
    door(predict, **TRAIN, **INSIDE),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is a path, of a folder that is made."""
    monkeypatch.chdir(tmp_path)


@every_argument(DOORS)
def test_what_means_nothing_is_refused_by_name(entry: Door, name: str) -> None:
    check_all(entry, name)


def test_no_argument_is_left_out() -> None:
    assert left_out(DOORS) == set()
