"""Which workers a run takes, and when it begins anew with more; the cluster is pretended."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed")

from course_lib.parallel.channels import OnChannel
from course_lib.parallel.errors import MoreWorkers, NotEnoughWorkers, WorkersBusy
from course_lib.parallel.launch import ranks as ranks_file
from course_lib.parallel.launch import workers as workers_file
from course_lib.parallel.launch.workers import free_workers, held_workers, hold_workers

A, B, C, D = PLACES = ["tcp://a:1", "tcp://b:1", "tcp://c:1", "tcp://d:1"]


class Cluster:
    """Its workers, the tasks that each has, and the places that runs hold."""

    def __init__(self, busy=(), others=(), dies=()):
        self.there, self.busy, self.dies = list(PLACES), dict(busy), set(dies)
        self.held = set(others)

    def nthreads(self):
        return dict.fromkeys(self.there, 1)

    def processing(self):
        self.there = [place for place in self.there if place not in self.dies]
        return self.busy


class Place:
    """What only one run can hold."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def acquire(self, timeout):
        free = self.name not in self.client.held
        self.client.held.add(self.name)
        return free

    @contextmanager
    def held(self):
        try:
            yield
        finally:
            self.client.held.remove(self.name)


WISH = workers_file._wish  # the real one


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    monkeypatch.setattr(workers_file, "_Place", Place)
    monkeypatch.setattr(workers_file, "_wish", lambda client: nullcontext(lambda *_: None))
    monkeypatch.setattr(workers_file, "equip_workers", lambda client, chosen: True)
    monkeypatch.setattr(workers_file, "_SETTLE", 0.0)


@pytest.mark.parametrize(
    ("numbers", "busy", "others", "taken"),
    [
        # The idle ones first, in the order of their addresses.
        ((2, 2), {}, {}, [A, B]),
        ((2, 2), {A: "t", C: "tt"}, {}, [B, D]),
        # As many as are wanted at least, though they have something to do: those with the least.
        ((3, 3), {A: "tt", B: "t", C: "ttt"}, {}, [A, B, D]),
        # Of more than that only idle ones, and not more than the most.
        ((1, 4), {B: "t"}, {}, [A, C, D]),
        ((1, 2), {}, {}, [A, B]),
        ((1, 4), dict.fromkeys(PLACES, "t"), {}, [A]),
        # Not what another run holds.
        ((2, 2), {}, {A}, [B, C]),
        ((1, 4), {}, {B, D}, [A, C]),
    ],
)
def test_who_is_idle_and_free_is_taken_and_given_back(numbers, busy, others, taken):
    cluster = Cluster(busy, others)
    with hold_workers(cluster, numbers, 5.0) as held:
        assert held == taken
        assert cluster.held == {*others, *taken}  # and others may choose by now
    assert cluster.held == set(others)


@pytest.mark.parametrize(
    ("cluster", "error", "sentence"),
    [
        (Cluster(others={A, B, C}), WorkersBusy, "2 of the workers tcp://a:1, .* another run hold"),
        (Cluster(others={"choice"}), WorkersBusy, "did not become free within 0.3 s"),
        (Cluster(dies={B, C, D}), NotEnoughWorkers, "2 workers, but the cluster has 1 .*workers=1"),
        (Cluster(dies=PLACES), NotEnoughWorkers, "2 workers, but the cluster has 0 .*workers=1"),
        (Cluster(dies=PLACES[2:], others={A}), WorkersBusy, "2 of the workers tcp://a:1, tcp://b"),
    ],
)
def test_who_can_not_have_enough_is_told_why_and_holds_nothing(cluster, error, sentence):
    before = set(cluster.held)
    with pytest.raises(error, match=sentence), hold_workers(cluster, (2, 4), 0.3):
        pytest.fail("it held too few")
    assert cluster.held == before


def test_workers_that_die_while_they_are_chosen_or_equipped_are_not_taken(monkeypatch):
    cluster, tries = Cluster(dies={A}), []

    def equip(client, chosen):
        tries.append((chosen, set(cluster.held)))
        if len(tries) == 1:
            cluster.there.remove(B)
        return len(tries) > 1

    monkeypatch.setattr(workers_file, "equip_workers", equip)
    with hold_workers(cluster, (2, 2), 5.0) as held:
        assert held == [C, D]
        assert tries == [([B, C], {B, C}), ([C, D], {C, D})]


def test_workers_to_be_avoided_are_not_chosen():
    with hold_workers(Cluster(), (2, 2), 5.0, avoid=[A, C]) as held:
        assert held == [B, D]


@pytest.mark.parametrize(
    ("among", "taken"),
    [
        ([D, B, "tcp://gone:1"], {B, D}),
        ({"GPU": 1}, {B, C}),
        ({"GPU": 2}, {C}),
        ({"GPU": 1, "disk": 5}, {C}),
        ({"none": 1}, set()),
        ({}, set(PLACES)),
        (None, set(PLACES)),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_only_workers_with_the_addresses_or_the_resources_are_taken(among, taken, old):
    """Also where Dask's client has no word for how many workers it is asked of."""
    resources = {A: {}, B: {"GPU": 1.0}, C: {"GPU": 2.0, "disk": 5}, D: {"GPU": 0.5}}
    info = {"workers": {place: {"resources": found} for place, found in resources.items()}}
    cluster = Cluster()
    cluster.scheduler_info = (lambda: info) if old else (lambda n_workers: info)
    number = max(1, len(taken))
    if not taken:
        sentence = r"2 workers, but the cluster has 0 of those with \{'none': 1\} after"
        with pytest.raises(NotEnoughWorkers, match=sentence):
            with hold_workers(cluster, (2, 2), 0.2, among=among):
                pytest.fail("it held somebody")
        return
    with hold_workers(cluster, (number, 4), 5.0, among=among) as held:
        assert set(held) == taken


def test_free_is_who_has_nothing_to_do_is_held_by_nobody_and_not_to_be_avoided():
    async def semaphore_value(name):
        return int(name == f"course-lib-{B}")

    cluster = Cluster(busy={A: "t", C: ""})
    cluster.scheduler = SimpleNamespace(semaphore_value=semaphore_value)
    cluster.sync = lambda function: asyncio.run(function())
    assert held_workers(cluster, PLACES) == {B}
    assert held_workers(cluster, [A, C]) == set()
    assert free_workers(cluster) == {C, D}
    assert free_workers(cluster, avoid=[D, A]) == {C}
    assert free_workers(cluster, among=[A, B, C]) == {C}


@pytest.mark.parametrize(
    ("threads", "each"), [([1, 1, 1], 1), ([2, 2], 2), ([4, 1, 1], 2), ([], 1)]
)
def test_a_wish_is_as_many_tasks_as_keep_the_threads_of_so_many_workers(threads, each):
    """Dask expects half a second of each, and wants no thread with more than five of them."""
    told = []
    client = SimpleNamespace(
        map=lambda function, numbers, **options: list(numbers),
        cancel=lambda futures, force: told.append((len(futures), force)),
    )
    with WISH(client) as wish:
        for workers in (4, 4, 7, 5):  # what has been wished for already is not again
            wish(workers, threads)
    assert told == [(7 * each * 5 / 0.5, True)]


# --- more workers have come ---


@pytest.fixture
def told(monkeypatch):
    """Launch a rank on A that reports two messages, where others are free; what was asked."""

    def run(workers, free, regroup):
        heard, asked = [], []

        def free_workers(client, avoid, among):
            asked.append(avoid)
            assert among == {"GPU": 1}
            return free

        class Watch:
            def __init__(self, client, addresses, hear):
                assert (client, addresses) == ("our client", [A])
                self.hear = hear

            def run(self, program, timeout):
                for message in ({"n": 1}, {"n": 2}):
                    self.hear(message)
                return ["trained", timeout]

        def connect(client, *, workers, timeout):
            asked.append(workers)
            return nullcontext("our client")

        def hold(client, numbers, timeout, avoid, among):
            given = client, numbers, timeout, avoid, among
            assert given == ("our client", workers, 9.0, {D}, {"GPU": 1})
            return nullcontext([A])

        monkeypatch.setattr(ranks_file, "connect", connect)
        monkeypatch.setattr(ranks_file, "hold_workers", hold)
        monkeypatch.setattr(ranks_file, "free_workers", free_workers)
        monkeypatch.setattr(ranks_file, "Watch", Watch)
        try:
            end = ranks_file.launch(
                "a cluster", (print, (), {}), workers, timeout=9.0, avoid={D}, among={"GPU": 1},
                on_report=lambda message: heard.append(message["n"]), regroup=regroup,
            )  # fmt: skip
        except MoreWorkers:
            end = "more"
        assert asked.pop(0) == workers[1]  # what a private cluster is made with
        return SimpleNamespace(end=end, heard=heard, asked=asked)

    return run


second = lambda message: message["n"] == 2  # noqa: E731


def test_ranks_begin_anew_at_the_moment_that_allows_it_if_a_worker_is_free(told):
    run = told((1, 3), {B}, second)
    assert (run.end, run.heard) == ("more", [1, 2])
    assert run.asked == [{A, D}]  # neither those that are ours nor those to be avoided
    run = told((1, 3), set(), second)
    assert (run.end, run.heard, run.asked) == (["trained", 9.0], [1, 2], [{A, D}])


@pytest.mark.parametrize(
    ("workers", "regroup"), [((1, 1), second), ((1, 3), None), ((1, 3), lambda message: False)]
)
def test_ranks_that_are_enough_or_must_not_stop_are_not_disturbed(told, workers, regroup):
    run = told(workers, {B}, regroup)
    assert (run.end, run.heard, run.asked) == (["trained", 9.0], [1, 2], [])


def test_a_gang_has_as_many_ranks_as_it_says_on_the_channel_that_it_says(monkeypatch):
    def launch(*given, **options):
        return given, options

    monkeypatch.setattr(ranks_file, "launch", launch)
    (client, (program, args, kwargs), workers), options = ranks_file.gang(
        "tcp://s:1", print, 3, 1, 2, timeout=9, on_report=print, comm="dask", end=""
    )
    assert (client, args, kwargs, workers) == ("tcp://s:1", (1, 2), {"end": ""}, (3, 3))
    assert program == OnChannel(print, "dask")
    assert options == {"timeout": 9.0, "on_report": print}


def test_ctrl_c_ends_a_gang_with_a_sentence(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ranks_file, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt, match="^gang: interrupted; its ranks were stopped"):
        ranks_file.gang("tcp://s:1", print, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n": 0}, "gang: n must be an integer of at least 1, got 0"),
        ({"n": 1.5}, "gang: n must be an integer"),
        ({"timeout": 0}, "gang: timeout must be"),
        ({"comm": "smoke"}, "unknown channel 'smoke'"),
    ],
)
def test_a_gang_that_can_not_be_is_refused_before_anything_is_asked(monkeypatch, change, sentence):
    monkeypatch.setattr(ranks_file, "connect", lambda *_, **__: pytest.fail("somebody was asked"))
    with pytest.raises((TypeError, ValueError), match=sentence):
        ranks_file.gang("tcp://s:1", print, **{"n": 2} | change)


def test_a_private_cluster_has_a_worker_for_each_rank_and_outlives_the_attempts(monkeypatch):
    story = []

    @contextmanager
    def connect(client, *, workers, timeout):
        story.append(("made", client, workers))
        yield "private"
        story.append("closed")

    monkeypatch.setattr(ranks_file, "connect", connect)
    monkeypatch.setattr(ranks_file, "launch", lambda cluster, *_, **__: story.append(cluster))
    with ranks_file.Relauncher(None, (1, 3), timeout=1.0) as cluster:
        cluster.launch(None)
        cluster.launch(None)
    assert story == [("made", None, 3), "private", "private", "closed"]
    with ranks_file.Relauncher("the user's", (1, 3), timeout=1.0) as cluster:
        cluster.launch(None)
    assert story[4:] == ["the user's"]  # neither made nor closed
