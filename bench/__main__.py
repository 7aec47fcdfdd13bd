"""The command: `python -m bench WORKLOAD --store postgres|sqlite`."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from typing import Any, Final, Protocol

from bench import (
    alarms,
    backlog,
    enqueue,
    fair,
    fanout,
    hot,
    jobs,
    latency,
    limits,
    machines,
    objects,
    reads,
    remote,
    signals,
    sleeps,
    touched,
    waits,
    workflows,
)
from bench.figures import Figures, as_json, table, whole
from bench.places import Database, fresh_database
from harness.binaries import NoPostgres
from outlast import Engine


class Workload(Protocol):
    """A module that measures one thing.

    Attributes:
        N: Units by default.
        SETTINGS: The engine's options that matter here, in words.
    """

    N: int
    SETTINGS: str

    def measure(self, database: Database, n: int) -> list[Figures]:
        """Its variants, the main one first."""


WORKLOADS: Final[dict[str, Workload]] = {
    "jobs": jobs,
    "enqueue": enqueue,
    "latency": latency,
    "backlog": backlog,
    "machines": machines,
    "workflows": workflows,
    "waits": waits,
    "sleeps": sleeps,
    "fanout": fanout,
    "signals": signals,
    "limits": limits,
    "fair": fair,
    "objects": objects,
    "touched": touched,
    "reads": reads,
    "hot": hot,
    "remote": remote,
    "alarms": alarms,
}


def main(arguments: list[str] | None = None) -> None:
    """Measures one workload and prints what it found."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the engine against the bare database. bench/README.md tells what is measured and how.",
    )
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="sqlite")
    parser.add_argument("--n", type=_count, help="units of work; each workload has its default")
    parser.add_argument("--url", help="a running Postgres, or the file for SQLite; default: our own, thrown away")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        found = measure(WORKLOADS[given.workload], given.store, given.n, given.url)
    except (NoPostgres, FileExistsError, ValueError) as error:
        sys.exit(str(error))
    print(as_json(found) if given.json else table(found))


def measure(workload: Workload, store: str, n: int | None, url: str | None) -> dict[str, Any]:
    """One object, as it is printed."""
    load = os.getloadavg()[0]
    with fresh_database(store, url) as database:
        asyncio.run(_make_tables(database.url))
        variants = workload.measure(database, n or workload.N)
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load:.1f} before"
    return whole(variants, f"{database.about}; {machine}; {workload.SETTINGS}")


async def _make_tables(url: str) -> None:
    await Engine(url).migrate()


def _count(text: str) -> int:
    number = int(text.replace("_", "").replace(",", ""))
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    main()
