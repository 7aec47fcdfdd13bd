"""The run: four workers, a kill now and then in the middle of work, and then patience."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg

from chaos.history import Event, Reader, now_us
from chaos.peers import duty, processes
from chaos.peers.adapters import Adapter
from chaos.peers.checker import judge
from harness.postgres import PostgresServer

WORKERS: Final = 4
GAP_S: Final = 0.15
"""Between one kill and the next, at least."""
JOBS_PER_KILL: Final = 50
"""Handed in after each kill, so that the next one finds work to hit."""
_BUSY_S: Final = 60.0
"""How long is waited for a worker that runs a job."""
_DELAY_S: Final = 0.02
"""A kill comes up to this long after a worker was seen at work, so that it hits all moments of a job."""
_LOOK_S: Final = 0.5


@dataclass
class Worker:
    """One worker process: what it runs at the moment, and all that it wrote down."""

    name: str
    place: int
    pid: int
    reader: Reader
    events: list[Event] = field(default_factory=list)
    running: set[str] = field(default_factory=set)

    def look(self) -> bool:
        """Reads what is new in its history; says whether it is in the middle of a job."""
        for event in self.reader.news():
            self.events.append(event)
            change = self.running.add if event.word == "begin" else self.running.discard
            change(event.fields[0])
        return bool(self.running)


class Crew:
    """The workers of one run, the dead ones too."""

    def __init__(self, adapter: Adapter, url: str, folder: Path) -> None:
        self._adapter, self._url, self._folder = adapter, url, folder
        self._names = (f"worker-{number}" for number in count(1))
        self.alive: list[Worker] = []
        self.dead: list[Worker] = []
        self.deaths_us: dict[str, int] = {}
        self.left = 0

    def hire(self, place: int) -> None:
        """Starts a worker at that place."""
        name = next(self._names)
        history = self._folder / f"{name}.history"

        def work() -> None:
            duty.write_to(history)
            self._adapter.work(self._url, place)

        pid = processes.fork(work, self._folder / f"{name}.log")
        self.alive.append(Worker(name, place, pid, Reader(history)))

    def replace(self, worker: Worker) -> None:
        """Kills it and starts another."""
        processes.kill(worker.pid)
        self._bury(worker)

    def busy(self) -> list[Worker]:
        """Those in the middle of a job."""
        return [worker for worker in list(self.alive) if worker.look()]

    def tend(self) -> None:
        """Replaces those that have ended by themselves, as every supervisor does."""
        for worker in list(self.alive):
            if processes.is_gone(worker.pid):
                self.left += 1
                self._bury(worker)

    def dismiss(self) -> None:
        """Ends them all."""
        for worker in self.alive:
            processes.kill(worker.pid)

    def histories(self) -> dict[str, list[Event]]:
        """What each has written down."""
        for worker in chain(self.alive, self.dead):
            worker.look()
        return {worker.name: worker.events for worker in chain(self.alive, self.dead)}

    def _bury(self, worker: Worker) -> None:
        self.deaths_us[worker.name] = now_us()
        self.alive.remove(worker)
        self.dead.append(worker)
        self.hire(worker.place)


def run(name: str, adapter: Adapter, *, kills: int, seed: int, patience_s: float) -> dict[str, Any]:
    """One whole run on a Postgres of its own, and what came of it.

    Raises: RuntimeError: the system could not be driven.
    """
    load_before = os.getloadavg()[0]
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="outlast-peers-") as folder, PostgresServer() as server:
        found = _play(adapter, server.url("postgres"), Path(folder), kills, Random(seed), patience_s)
        about = server.describe()
    return {
        "name": name,
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "packages": {package: version(package) for package in adapter.PACKAGES},
        "python": platform.python_version(),
        "postgres": about,
        "cpus": os.cpu_count(),
        "load": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "settings": adapter.settings,
        "seed": seed,
        "patience_s": patience_s,
        **found,
    }


def _play(adapter: Adapter, url: str, folder: Path, kills: int, dice: Random, patience_s: float) -> dict[str, Any]:
    log = folder / "submit.log"
    processes.finish(partial(adapter.prepare, url), log)
    crew = Crew(adapter, url, folder)
    submitters: list[int] = []
    began_us = now_us()
    try:
        for place in range(WORKERS):
            crew.hire(place)
        effective = 0
        for number in range(kills):
            chunk = range(number * JOBS_PER_KILL, (number + 1) * JOBS_PER_KILL)
            submitters.append(processes.fork(partial(adapter.submit, url, chunk), log))
            time.sleep(GAP_S)
            effective += _strike(crew, dice)
        last_kill_us = now_us()
        for pid in submitters:
            processes.check(pid, log)
        open_jobs = _await(lambda: _count_open(adapter, url), crew, last_kill_us + patience_s * 1e6)
        waited_s = (now_us() - last_kill_us) / 1e6
    finally:
        crew.dismiss()
    jobs = kills * JOBS_PER_KILL
    verdict = judge(range(jobs), crew.histories(), crew.deaths_us)
    early = sum(at_us <= last_kill_us for at_us in verdict.first_ends_us)
    return {
        "jobs": jobs,
        "kills": kills,
        "kills_in_work": effective,
        "left_by_themselves": crew.left,
        "never_finished": verdict.never_finished,
        "open_in_database": open_jobs,
        "finished_twice": verdict.finished_twice,
        "interrupted": verdict.interrupted,
        "rerun": verdict.rerun,
        "rerun_per_kill": round(verdict.rerun / kills, 2),
        "rerun_alive": verdict.rerun_alive,
        "recovery_s": _rounded(verdict.recovery_s),
        "recovery_median_s": _rounded(verdict.recovery_median_s),
        "kills_s": round((last_kill_us - began_us) / 1e6, 1),
        "jobs_per_s": round(early / ((last_kill_us - began_us) / 1e6)),
        "all_done_s": round((verdict.ended_us - began_us) / 1e6, 1) if not verdict.never_finished else None,
        "waited_s": round(waited_s, 1),
    }


def _strike(crew: Crew, dice: Random) -> bool:
    """Kills a worker, if there is one in the middle of a job; says whether it still was."""
    deadline = time.monotonic() + _BUSY_S
    while not crew.busy():
        crew.tend()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    time.sleep(dice.uniform(0, _DELAY_S))
    victim = dice.choice(crew.busy() or crew.alive)
    crew.replace(victim)
    return victim.look()


def _await(count_open: Callable[[], int], crew: Crew, deadline_us: float) -> int:
    """Waits until the database calls all jobs done, or patience ends; returns how many it does not."""
    while (left := count_open()) and now_us() < deadline_us:
        crew.tend()
        time.sleep(_LOOK_S)
    return left


def _count_open(adapter: Adapter, url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(adapter.OPEN).fetchone()
        assert row is not None
        left: int = row[0]
        return left


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
