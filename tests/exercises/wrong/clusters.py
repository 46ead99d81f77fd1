"""Typical wrong answers to the exercises of the chapter on clusters."""

from __future__ import annotations

import math
from typing import Any

_TLS = ("--tls-ca-file", "--tls-cert", "--tls-key")


def _doors(
    command: list[str], *, host: tuple[str, ...] = ("", "0.0.0.0"), tls: Any = all,
    dashboard: Any = lambda value: not value.startswith("127.0.0.1"), closing: str = "",
) -> set[str]:  # fmt: skip
    def after(option: str) -> str:
        return command[command.index(option) + 1] if option in command else ""

    found = set()
    if after("--host") in host:
        found.add("all networks")
    if not tls(after(option) for option in _TLS):
        found.add("no certificates")
    if closing not in command and dashboard(after("--dashboard-address")):
        found.add("dashboard")
    return found


def _cheapest(
    seconds: dict[int, float], steps: int, startup: float, deadline: float, *,
    paid: Any = lambda p, hours: p * hours, start: float = 1.0, default: int = 0,
) -> int:  # fmt: skip
    hours = {p: start * startup + steps * s / 3600 for p, s in seconds.items()}
    late = [p for p in hours if hours[p] <= deadline]
    return min(late, key=lambda p: paid(p, hours[p]), default=default)


def _hours(work: float, pieces: int, save: float, restart: float, each: float, p: int) -> float:
    piece, m = work / pieces + save, each / p
    return pieces * (m + restart) * math.expm1(piece / m)


def _once(work: float, pieces: int, save: float, restart: float, each: float, p: int) -> float:
    piece, m = work / pieces + save, each / p
    return pieces * (piece + piece / m * (piece / 2 + restart))


WRONG: dict[str, dict[str, Any]] = {
    "clusters.blas_threads": {
        "overbooked": lambda cores, workers, threads: -(-cores // (workers * threads)),
        "threads-ignored": lambda cores, workers, threads: cores // workers,
        "one-does-not-fit": lambda cores, w, t: max(1, cores // (w * t)),
        "wrong-values": lambda cores, workers, threads: 1,
    },
    "clusters.open_doors": {
        "default-host-forgotten": lambda c: _doors(c, host=("0.0.0.0",)),
        "zero-address-missed": lambda c: _doors(c, host=("",)),
        "tls-missed": lambda c: _doors(c, tls=lambda options: True),
        "part-of-tls-is-enough": lambda c: _doors(c, tls=any),
        "default-dashboard-forgotten": lambda c: _doors(c, dashboard=lambda v: v.startswith(":")),
        "dashboard-missed": lambda c: _doors(c, dashboard=lambda v: not v),
        "no-dashboard-trusted": lambda c: _doors(c, closing="--no-dashboard"),
        "stops-at-the-first": lambda c: set(sorted(_doors(c))[:1]),
        "sees-doors-that-are-closed": lambda c: _doors(c, dashboard=lambda v: True),
        "not-a-set": lambda c: len(_doors(c)),
    },
    "clusters.cheapest": {
        "fastest-instead": lambda *a: _cheapest(*a, paid=lambda p, hours: hours),
        "startup-forgotten": lambda *a: _cheapest(*a, start=0.0),
        "deadline-ignored": lambda *a: _cheapest(*a[:3], math.inf),
        "not-the-cheapest": lambda *a: _cheapest(*a, paid=lambda p, hours: p * hours**2),
    },
    "clusters.expected_hours": {
        "no-losses": lambda work, pieces, save, *rest: work + pieces * save,
        "mtbf-of-one-worker": lambda *a: _hours(*a[:5], 1),
        "restart-forgotten": lambda *a: _hours(*a[:3], 0.0, *a[4:]),
        "saving-forgotten": lambda work, pieces, save, *rest: _hours(work, pieces, 0.0, *rest),
        "half-a-piece-lost": _once,
        "wrong-values": lambda *a: _hours(*a) / a[1],
    },
}
