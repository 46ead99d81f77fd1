"""Exercises on running workers elsewhere: cores, open doors, costs and losses.

Chapter: clusters.
"""

from __future__ import annotations

import math
from typing import Any

from course_lib.exercises.answers import agree, call, number, refuse
from course_lib.exercises.exercise import exercise
from course_lib.exercises.verdict import Mistake


@exercise("clusters.blas_threads", "How many threads are left?", "easy", 10)
def blas_threads(answer: Any) -> None:
    """Cores that divide, that do not, and that are too few."""
    for cores, workers, threads in ((16, 4, 1), (16, 4, 2), (10, 3, 1), (4, 4, 1), (4, 3, 2)):
        got = number(call(answer, cores, workers, threads), "The number of threads")
        want, booked = cores // (workers * threads), workers * threads
        where = f"For {cores} cores and {workers} workers of {threads} threads"
        if got == want:
            continue
        if want == 0 and got == 1:
            hint = f"{where} not even one thread per matrix product fits; say so with 0."
            raise Mistake("one-does-not-fit", hint)
        if threads > 1 and got == cores // workers:
            raise Mistake("threads-ignored", f"{where} you count the workers, not their threads.")
        if booked * got > cores:
            hint = f"{where} you answer {got:g}: that books {booked * got:g} of {cores} cores."
            raise Mistake("overbooked", hint)
        raise Mistake("wrong-values", f"{where}: expected {want}, got {got:g}.")


@exercise("clusters.open_doors", "Find the open doors", "medium", 20)
def open_doors(answer: Any) -> None:
    """Eight command lines of a scheduler, from wide open to closed."""
    host, quiet = ["--host", "10.0.0.5"], ["--dashboard-address", "127.0.0.1:0"]
    tls = ["--tls-ca-file", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    cases: tuple[tuple[str, list[str], set[str]], ...] = (
        ("sees-doors-that-are-closed", [*host, *tls, *quiet], set()),
        ("default-host-forgotten", [*tls, *quiet], {"all networks"}),
        ("zero-address-missed", ["--host", "0.0.0.0", *tls, *quiet], {"all networks"}),  # nosec
        ("tls-missed", [*host, *quiet], {"no certificates"}),
        ("part-of-tls-is-enough", [*host, *tls[:4], *quiet], {"no certificates"}),
        ("default-dashboard-forgotten", [*host, *tls], {"dashboard"}),
        ("dashboard-missed", [*host, *tls, "--dashboard-address", ":8787"], {"dashboard"}),
        # Its pages are gone, but distributed 2026.8 goes on listening on all networks.
        ("no-dashboard-trusted", [*host, *tls, "--no-dashboard"], {"dashboard"}),
    )
    for mistake, options, want in cases:
        command = ["dask", "scheduler", *options]
        got = call(answer, command)
        if not isinstance(got, set | frozenset | list | tuple):
            raise Mistake("not-a-set", "Return a set with the names of the doors that are open.")
        if set(map(str, got)) != want:
            doors = "no door is open" if not want else f"the door open is {', '.join(want)}"
            said = ", ".join(sorted(map(str, got))) or "none"
            raise Mistake(mistake, f"In `{' '.join(command)}` {doors}; you name {said}.")
    if set(call(answer, ["dask", "scheduler"])) != {"all networks", "no certificates", "dashboard"}:
        hint = "`dask scheduler` without any option has all three doors open. Collect them all."
        raise Mistake("stops-at-the-first", hint)


# The seconds of 16 workers, the steps, the hours to start, and the best numbers for deadlines.
_CHEAPEST: list[tuple[float, int, float, Any]] = [
    (0.19, 36_000, 1.0, ((100.0, 1), (7.0, 2), (6.4, 4), (3.0, 8), (2.0, 0))),
    (0.1, 72_000, 0.5, ((21.0, 1), (12.0, 2), (7.0, 4), (5.0, 8), (2.6, 16), (2.4, 0))),
]


@exercise("clusters.cheapest", "In time, for the least money", "medium", 20, _CHEAPEST)
def cheapest(answer: Any, fastest: float, steps: int, startup: float, tried: Any) -> None:
    """Try deadlines that bind, that do not, and that nobody can meet."""
    seconds = {1: 1.0, 2: 0.55, 4: 0.3, 8: 0.2, 16: fastest}
    hours = {p: startup + steps * s / 3600 for p, s in seconds.items()}
    free = {p: steps * s / 3600 for p, s in seconds.items()}
    for deadline, want in tried:
        got = number(call(answer, seconds, steps, startup, deadline), "The number of workers")
        if got == want:
            continue
        where = f"With a deadline of {deadline:g} hours"
        late = got not in hours or hours[int(got)] > deadline
        if want == 0:
            raise Mistake("deadline-ignored", f"{where} no number of workers is in time: return 0.")
        if late and got in free and free[int(got)] <= deadline:
            hint = f"{where} {got:g} workers are late: they wait {startup:g} hours to begin."
            raise Mistake("startup-forgotten", hint)
        if late:
            raise Mistake("deadline-ignored", f"{where} {got:g} workers are not in time.")
        if got == min((p for p in hours if hours[p] <= deadline), key=lambda p: hours[p]):
            hint = f"{where} {got:g} workers are the fastest, {want} are in time and cheaper."
            raise Mistake("fastest-instead", hint)
        raise Mistake("not-the-cheapest", f"{where}: expected {want}, got {got:g}.")


@exercise("clusters.expected_hours", "A day that takes longer", "hard", 35)
def expected_hours(answer: Any) -> None:
    """Rare and frequent losses, against the exact expectation and the typical shortcuts."""
    cases = (
        (24.0, 12, 0.1, 0.25, 2000.0, 64),
        (10.0, 5, 0.05, 0.5, 100.0, 20),
        (8.0, 1, 0.5, 1.0, 300.0, 100),
    )
    got = [number(call(answer, *case), "The expected hours") for case in cases]

    def all_by(
        one: Any, *, saves: bool = True, restarts: bool = True, gang: bool = True
    ) -> list[float]:
        found = []
        for work, pieces, save, restart, each, p in cases:
            piece = work / pieces + (save if saves else 0.0)
            found.append(pieces * one(piece, each / p if gang else each, restart * restarts))
        return found

    def exact(piece: float, m: float, restart: float) -> float:
        return (m + restart) * math.expm1(piece / m)

    refuse(
        got,
        ("no-losses", all_by(lambda piece, m, r: piece), "You count the work and the saving only."),
        ("mtbf-of-one-worker", all_by(exact, gang=False),
         "A loss of ANY of the p workers stops all: it comes every each / p hours."),
        ("restart-forgotten", all_by(exact, restarts=False),
         "After a loss, the restart takes time as well."),
        ("saving-forgotten", all_by(exact, saves=False),
         "A piece ends with its checkpoint, and that takes time to write."),
        ("half-a-piece-lost", all_by(lambda t, m, r: t + t / m * (t / 2 + r)),
         "You count one loss at most, of half a piece. It may be lost again and again."),
    )  # fmt: skip
    agree(got, all_by(exact), what="The expected hours of three trainings", rtol=1e-9)
