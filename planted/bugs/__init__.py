"""The bugs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from planted.bug import Bug, simulation

_WORKLOADS: Final = {
    "claims": ("chains", "families"),
    "limits": ("chains", "orders"),
    "objects": ("counters",),
    "stores": ("boxes", "chains", "trips"),
    "waits": ("boxes", "families"),
    "workflows": ("ticks", "trips"),
}
"""What the simulation works on for the bugs of a module that name nothing themselves."""


def _bugs() -> Iterator[Bug]:
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        for bug in importlib.import_module(f"{__name__}.{found.name}").BUGS:
            # The simulation runs on SQLite; it is asked first about all that it could meet.
            is_asked = "postgres" in bug.file or any(hunter.kind == "simulation" for hunter in bug.hunters)
            hunters = bug.hunters if is_asked else (simulation(*_WORKLOADS[found.name]), *bug.hunters)
            yield replace(bug, hunters=hunters)


BUGS: Final[tuple[Bug, ...]] = tuple(_bugs())
"""All, by the modules they stand in."""
