"""Strategies by their texts, and what train says of things that are none."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import pytest

from course_lib import SGD, mlp
from course_lib.cli import parser
from course_lib.parallel import (
    AsyncParameterServer,
    Compressed,
    Int8,
    LocalSGD,
    Mesh,
    Pipeline,
    PowerSGD,
    Strategy,
    SyncSGD,
    TensorParallel,
    TopK,
    VirtualShards,
    ZeRO1,
    strategies,
    train,
)
from course_lib.parallel.comm import run_threads
from course_lib.parallel.strategies import STRATEGIES, parse
from course_lib.parallel.strategies.job import gather_by_rank

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
NET = mlp([4, 6, 3], hidden="tanh", dropout=0.3)
OPTIONS = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 6, "comm": "inprocess"}

TEXTS = {
    "sync": SyncSGD(),
    "sync:ring": SyncSGD("ring"),
    "virtual:8": VirtualShards(8),
    "local:8": LocalSGD(8),
    "server:0": AsyncParameterServer(0),
    "zero1": ZeRO1(),
    "topk:0.25": Compressed(TopK(0.25)),
    "int8": Compressed(Int8()),
    "powersgd:2": Compressed(PowerSGD(2)),
    "pipeline:2:4": Pipeline(2, 4),
    "pipeline:2:4:1f1b": Pipeline(2, 4, "1f1b"),
    "tensor": TensorParallel(),
}


@pytest.mark.parametrize(("text", "made"), TEXTS.items())
def test_a_text_stands_for_a_strategy(text, made):
    assert parse(text) == made
    by_text, by_object = (train(NET, (X, Y), strategy=s, **OPTIONS) for s in (text, made))
    assert by_text.digests == by_object.digests


def test_every_name_in_the_table_was_tried():
    assert {text.split(":")[0] for text in TEXTS} == set(STRATEGIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loca:8", r"^unknown strategy 'loca'; did you mean 'local'\? Known: sync, virtual, loc"),
        ("", r"^unknown strategy ''\. Known: sync"),
        ("local", r"^strategy 'local': expected local:STEPS\.$"),
        ("local:8:8", r"^strategy 'local:8:8': expected local:STEPS\.$"),
        ("local:", r"^strategy 'local:': expected local:STEPS; '' is not a whole number\.$"),
        ("local:0.5", r"expected local:STEPS; '0.5' is not a whole number\.$"),
        ("local:0", r"expected local:STEPS; LocalSGD: h must be an integer of at least 1, got 0"),
        ("topk:half", r"expected topk:FRACTION; 'half' is not a number\.$"),
        ("topk:2", r"expected topk:FRACTION; TopK: fraction must be .* > 0 and <= 1, got 2.0"),
        ("virtual:6", r"expected virtual:SHARDS; .* a power of two.* got 6\. Use 4 or 8"),
        ("sync:rink", r"expected sync\[:ALGORITHM\]; unknown all_reduce algorithm 'rink'; did you"),
        ("pipeline:2", r"expected pipeline:STAGES:MICRO_BATCHES\[:gpipe\|1f1b\]\.$"),
        ("pipeline:2:4:gpip", r"unknown pipeline schedule 'gpip'; did you mean 'gpipe'"),
        ("zero1:3", r"^strategy 'zero1:3': expected zero1\.$"),
    ],
)
def test_a_wrong_text_is_told_what_is_expected_by_all_who_read_it(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
    with pytest.raises(ValueError, match=message):
        train(NET, (X, Y), strategy=text, **OPTIONS)


def test_the_command_line_lists_the_forms_of_the_table(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["train", "--help"])
    said = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    assert all(kind.form in said for kind in STRATEGIES.values())


def test_virtual_shards_is_short_for_a_strategy():
    short = train(NET, (X, Y), virtual_shards=4, workers=3, **OPTIONS)
    whole = train(NET, (X, Y), strategy="virtual:4", workers=1, **OPTIONS)
    assert set(short.digests) == set(whole.digests)


def test_all_strategies_are_frozen_and_derive_from_the_base():
    made = [getattr(strategies, name) for name in strategies.__all__]
    found = {c for c in made if isinstance(c, type) and issubclass(c, Strategy)} - {Strategy}
    assert found == {type(made) for made in TEXTS.values()} | {Mesh}
    for kind in found:
        assert is_dataclass(kind) and kind.__dataclass_params__.frozen and fields(kind)


def test_a_strategy_of_ones_own_needs_a_start_only():
    @dataclass(frozen=True)
    class Mine(Strategy):
        def start(self, comm, job, clock):
            return SyncSGD().start(comm, job, clock)

    result = train(NET, (X, Y), strategy=Mine(), **OPTIONS)
    assert result.digests == train(NET, (X, Y), **OPTIONS).digests
    assert Mine().pieces is None


@pytest.mark.parametrize("strategy", [8, None, SyncSGD, object()])
def test_what_is_no_strategy_is_refused_with_how_to_make_one(strategy):
    message = r"strategy must be a text such as 'local:8' or a Strategy, got .* derives from "
    with pytest.raises(TypeError, match=message):
        train(NET, (X, Y), strategy=strategy, **OPTIONS)


def test_a_class_without_a_base_is_refused_and_one_without_start_can_not_be_made():
    @dataclass(frozen=True)
    class Baseless:
        def start(self, comm, job, clock):
            return SyncSGD().start(comm, job, clock)

    with pytest.raises(TypeError, match=r"got .*Baseless\(\); a class of your own derives from co"):
        train(NET, (X, Y), strategy=Baseless(), **OPTIONS)

    class Idle(Strategy):
        pass

    with pytest.raises(TypeError, match="abstract.*start"):
        Idle()


def test_what_rank_0_gathers_is_a_copy_of_its_own_array_too():
    arrays = [np.array([1.0, 2.0]), np.array([3.0, 4.0])]
    found, _ = run_threads(2, lambda comm: gather_by_rank(comm, "a", arrays[comm.rank]))
    for rank, array in enumerate(arrays):
        array += 9  # the training goes on
        assert found[f"a.{rank}"].tolist() == [[1.0, 2.0], [3.0, 4.0]][rank]


def test_numbers_of_numpy_and_lists_make_the_same_strategy():
    two = np.int64(2)
    for ours, wanted in (
        (Mesh(data=two, pipeline=two, bounds=[2]), Mesh(data=2, pipeline=2, bounds=(2,))),
        (Pipeline(two, two, bounds=np.array([2])).mesh, Pipeline(2, 2, bounds=(2,)).mesh),
        (Compressed(TopK(np.float32(0.5))), Compressed(TopK(0.5))),
    ):
        assert repr(ours) == repr(wanted)
        assert hash(ours) == hash(wanted)
