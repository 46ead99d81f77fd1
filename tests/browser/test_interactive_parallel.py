"""The figures of the parallel chapters, against schedules, collectives and costs of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course_lib.parallel.collectives.algorithms import ring_all_reduce
from course_lib.parallel.comm import run_threads
from course_lib.parallel.cost import AlphaBeta, pipeline_bubble, predict_step, traffic
from course_lib.parallel.schedules import Simulation, gpipe, one_f_one_b, simulate
from tests.browser.figures import Figure

MB = 1_000_000


class Watched:
    """A communicator that keeps a copy of the array before each message is received."""

    def __init__(self, comm: Any, array: np.ndarray) -> None:
        self.comm, self.array, self.seen = comm, array, []
        self.rank, self.size, self.send = comm.rank, comm.size, comm.send

    def recv(self, source: int, tag: Any) -> Any:
        """Receive, when the copy has been made."""
        self.seen.append(self.array.copy())
        return self.comm.recv(source, tag)


def ring_run(p: int) -> np.ndarray:
    """Return step x rank x part: whose numbers are in it, one bit for each rank."""

    def one(comm: Any) -> list[np.ndarray]:
        array = np.full(p, 1 << comm.rank)
        watched = Watched(comm, array)
        ring_all_reduce(watched, array)
        return [*watched.seen, array]

    return np.array(run_threads(p, one)).swapaxes(0, 1)


def ring_agrees(figure: Figure, run: np.ndarray) -> None:
    """Compare what the figure says that each rank holds, and has sent, with a real run."""
    p, step, n = (int(figure.value(key)) for key in ("ranks", "step", "size"))
    rows = [
        f"rank {rank}: "
        + " ".join("".join(str(q) for q in range(p) if bits >> q & 1) for bits in run[step, rank])
        for rank in range(p)
    ]
    assert "; ".join(rows) in figure.labels[0]
    ring, ordered = (max(r.bytes for r in traffic(p, n * MB, k)) for k in ("ring", "ordered"))
    sent = step * n / p
    assert f"Sent by each rank: {sent:.0f} of {ring / MB:.0f} MB;" in figure.text
    assert f"by rank 0 of the ordered sum: {ordered / MB:.0f} MB." in figure.text
    if step:
        part = next(j for j in range(p) if run[step, 1, j] != run[step - 1, 1, j])
        who = [str(q) for q in range(p) if run[step, 1, part] >> q & 1]
        summed = "all ranks" if len(who) == p else f"ranks {', '.join(who)}"
        assert f"rank 0 sends part {part} to rank 1" in figure.text
        assert f"holds there the sum of {summed}." in figure.text


@pytest.mark.parametrize("presses", [["left", "left"], [], ["right", "right"]])
def test_the_ring_holds_what_a_real_ring_holds(page: Any, html: Path, presses: list[str]) -> None:
    """After every step, for two, four and six ranks."""
    figure = Figure(page, html, "ring")
    if presses:
        figure.press("ranks", *presses)
    run = ring_run(int(figure.value("ranks")))
    ring_agrees(figure, run)
    for _ in range(len(run) - 1):
        before = figure.drawing
        figure.press("step", "right")
        assert figure.drawing != before
        ring_agrees(figure, run)
    assert figure.value("step") == len(run) - 1
    figure.press("size", "right", "right")
    ring_agrees(figure, run)
    figure.push("Start again")
    ring_agrees(figure, run)


def kept(run: Simulation, stage: int, t: float) -> int:
    """Return how many micro-batches are between begun forward and ended backward pass."""
    begun = sum(run.start[a] < t for a in run.schedule[stage] if a.kind == "F")
    return begun - sum(run.end[a] <= t for a in run.schedule[stage] if a.kind == "B")


def pipeline_agrees(figure: Figure) -> None:
    """Compare length, idle share and memory with the simulator of the package."""
    p, m, t = (int(figure.value(key)) for key in ("stages", "micro", "time"))
    runs = {"GPipe": simulate(gpipe(p, m)), "1F1B": simulate(one_f_one_b(p, m))}
    length = runs["GPipe"].length
    assert {run.length for run in runs.values()} == {length}
    idle = f"{p - 1} / {m + p - 1} = {100 * pipeline_bubble(p, m):.1f} %"
    assert f"both end at {length:g} and are idle for {idle} of the time." in figure.text
    most = ", ".join(f"{name} {run.in_flight[0]}" for name, run in runs.items())
    now = ", ".join(f"{name} {kept(run, 0, t)}" for name, run in runs.items())
    assert f"Stage 0 keeps at most: {most}; at time {t}: {now}." in figure.text
    for (name, run), label in zip(runs.items(), figure.labels, strict=True):
        peaks = ", ".join(f"stage {s} {count}" for s, count in enumerate(run.in_flight))
        assert name in label and f"Most micro-batches kept: {peaks}." in label
    bars = figure.box.find_elements("css selector", "svg")
    for svg, run in zip(bars, runs.values(), strict=True):
        drawn = svg.find_elements("css selector", "rect.blue-area, rect.orange-area")
        begun = [rect for rect in drawn if rect.get_attribute("fill-opacity") == "1"]
        assert len(drawn) == len(run.start)
        assert len(begun) == sum(start < t for start in run.start.values())


def test_pipelines_run_as_the_simulator_says(page: Any, html: Path) -> None:
    """From one stage to six, few and many micro-batches, early and late."""
    figure = Figure(page, html, "pipeline")
    pipeline_agrees(figure)
    for key, *presses in (
        ("time", *["right"] * 4),
        ("micro", *["right"] * 4),
        ("stages", "right", "right"),
        ("time", *["right"] * 9),
        ("micro", *["left"] * 8),
        ("stages", *["left"] * 5),
    ):
        before = figure.drawing
        figure.press(key, *presses)
        assert figure.drawing != before
        pipeline_agrees(figure)


def test_the_text_below_the_pipelines() -> None:
    """Ten micro-batches bring four stages below a quarter; the schedules part at time 4."""
    assert min(m for m in range(1, 20) if pipeline_bubble(4, m) < 1 / 4) == 10
    runs = [simulate(make(4, 6)) for make in (gpipe, one_f_one_b)]
    doing = [{(a.stage, a.kind, a.micro, start) for a, start in run.start.items()} for run in runs]
    assert min(start for *_, start in doing[0] ^ doing[1]) == 4


NUMBERS = [digit * power for power in (1, 10, 100) for digit in (1, 2, 5)] + [1000]


def scaling_agrees(figure: Figure) -> None:
    """Compare times, speed-ups and the best number of ranks with the package's prediction."""
    at = {key: int(figure.value(key)) for key in ("compute", "size", "alpha", "speed", "ranks")}
    seconds, size = NUMBERS[3 + at["compute"]] / 1e3, NUMBERS[at["size"]] * MB
    channel = AlphaBeta(NUMBERS[at["alpha"]] / 1e6, 1 / (NUMBERS[at["speed"]] * 1e8))
    algorithm = str(figure.element("#scaling-algorithm").get_property("value"))

    def predicted(p: int, scaling: str) -> Any:
        return predict_step(
            seconds, p, size // 4, channel, dtype=np.float32, algorithm=algorithm, scaling=scaling
        )

    p = at["ranks"]
    steps = {name: predicted(p, name) for name in ("strong", "weak")}
    latency = AlphaBeta(channel.alpha, 0.0).all_reduce(p, size, algorithm)
    all_ms = 1e3 * steps["strong"].communication
    text = f"all-reduce takes {all_ms:.1f} ms, {1e3 * latency:.1f} of them latency."
    assert text in figure.text
    for name, step in steps.items():
        assert (
            f"{name.capitalize()} scaling: {1e3 * step.seconds:.1f} ms, "
            f"{step.speedup:.2f} times as fast, efficiency {100 * step.efficiency:.0f} %."
        ) in figure.text
    times = np.array([predicted(q, "strong").seconds for q in range(1, 65)])
    best = int(np.argmax(times <= (1 + 1e-12) * times.min()))  # the first of equals
    assert f"fastest on {best + 1} of up to 64 ranks: {1e3 * times[best]:.1f} ms." in figure.text


def test_scaling_is_what_the_package_predicts(page: Any, html: Path) -> None:
    """One slider at a time, and every algorithm at a number of ranks that is no power of two."""
    figure = Figure(page, html, "scaling")
    scaling_agrees(figure)
    for key, *presses in (
        ("ranks", *["right"] * 5),
        ("compute", "right", "right"),
        ("size", "right"),
        ("alpha", *["right"] * 3),
        ("speed", "left"),
    ):
        before = figure.drawing
        figure.press(key, *presses)
        assert figure.drawing != before
        scaling_agrees(figure)
    for algorithm in ("ring", "recursive_doubling", "tree", "ordered"):
        figure.choose("algorithm", algorithm)
        scaling_agrees(figure)


def test_the_text_below_the_scaling() -> None:
    """Which change is worth more for the ring; which all-reduce wins where latency is all."""
    base, size, p = AlphaBeta(50e-6, 1e-9), 20 * MB, 64
    wider = AlphaBeta(base.alpha, base.beta / 10).all_reduce(p, size, "ring")
    quicker = AlphaBeta(base.alpha / 10, base.beta).all_reduce(p, size, "ring")
    assert wider < quicker < base.all_reduce(p, size, "ring")
    slow = AlphaBeta(1e-3, 1e-11)
    order = sorted(
        ("ring", "recursive_doubling", "tree", "ordered"),
        key=lambda name: slow.all_reduce(p, size, name),
    )
    assert (order[0], order[-1]) == ("recursive_doubling", "ordered")
