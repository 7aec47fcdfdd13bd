"""All programs of the crash runs, and what must come of each."""

from __future__ import annotations

from typing import Any, Final

from chaos import trips
from chaos.editions import STOPS
from chaos.machines import CHAIN, CHILD_BASE, Box, Chain, Family
from chaos.programs import FAILURES, JOBS, answer
from outlast._kernel.program import Program

_MACHINES: Final = (Chain, Box, Family)
PROGRAMS: Final[dict[str, Program]] = {
    **JOBS,
    **{one.outlast_program.name: one.outlast_program for one in _MACHINES},
    **{one.name: one for one in (trips.trip, trips.parcel)},
}


ENDS: Final = {"spoil": "failed", "die": "quarantined"}
"""How instances end that do not end well."""


def new(name: str, *, n: int, nap_s: float, size: int = 0) -> Any:
    """One instance as `Engine.start` takes it; `size` is how many children a family has."""
    match name:
        case "chain":
            return Chain(n=n, nap_s=nap_s)
        case "family":
            return Family(n=n, nap_s=nap_s, children=size)
        case "trip":
            return trips.trip.new(n=n, nap_s=nap_s)
    return JOBS[name].new(n=n, nap_s=nap_s)


def status_of(name: str, state: dict[str, Any]) -> str:
    """The only right end of an instance."""
    return trips.status_of(state["n"]) if name == "trip" else ENDS.get(name, "done")


def result_of(name: str, state: dict[str, Any]) -> Any:
    """The only right result of an instance that ended in this state."""
    n: int = state["n"]
    match name:
        case "chain":
            return {"answer": answer(n), "trail": list(range(len(CHAIN)))}
        case "box":
            return state["got"]
        case "family":
            numbers = range(n * CHILD_BASE, n * CHILD_BASE + state["children"])
            return {"ended": state["children"], "sum": sum(map(answer, numbers))}
        case "trip" if trips.fails_at(n) is not None:
            return None
    return None if name in ENDS else answer(n)


def failures_of(name: str, state: dict[str, Any]) -> int:
    """How many failed attempts an instance counts in the end."""
    return int(status_of(name, state) != "done") if name == "trip" else FAILURES.get(name, 0)


def commits_of(name: str) -> int | None:
    """How many outcomes an instance has; None: that depends."""
    match name:
        case "chain":
            return len(CHAIN)
        case "box" | "trip" | "parcel" | "visit":
            return None
        case "tour":
            return STOPS
        case "family":
            return 2
        case "die":
            return 0
    return FAILURES.get(name, 0) + 1
