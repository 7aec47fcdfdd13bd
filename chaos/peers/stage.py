"""The run: four workers, faults in the middle of work, and then patience until nothing is open."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg

from chaos.history import now_us
from chaos.peers import processes
from chaos.peers.adapters import Adapter
from chaos.peers.checker import Freeze, judge, judge_freezes
from chaos.peers.crew import Crew
from harness.postgres import PostgresServer

WORKERS: Final = 4
GAP_S: Final = 0.15
"""Between one kill and the next, at least."""
CHUNK: Final = 50
"""Jobs handed in before each fault, so that it finds work to hit."""
FREEZE_S: Final = 15.0
"""How long a worker stands still: three times what the short settings wait."""
FROZEN: Final = 2
"""Workers that stand still at the same time."""
_LOOK_S: Final = 0.5


class Play:
    """What all runs share: the workers, jobs handed in by processes of their own, and the waiting.

    Attributes:
        crew: The workers.
        began_us: When the first of them was started.
        jobs: How many jobs were handed in.
    """

    def __init__(self, adapter: Adapter, url: str, folder: Path) -> None:
        self._adapter, self._url = adapter, url
        self._log = folder / "submit.log"
        self._submitters: list[int] = []
        processes.finish(partial(adapter.prepare, url), self._log)
        self.jobs = 0
        self.began_us = now_us()
        self.crew = Crew(adapter, url, folder)
        for place in range(WORKERS):
            self.crew.hire(place)

    def submit(self) -> None:
        """Hands in some jobs, and does not wait for that."""
        numbers = range(self.jobs, self.jobs + CHUNK)
        self._submitters.append(processes.fork(partial(self._adapter.submit, self._url, numbers), self._log))
        self.jobs += CHUNK

    def await_end(self, patience_s: float) -> int:
        """Waits until the database calls all jobs done, or patience ends; returns how many it does not.

        Raises: RuntimeError: jobs could not be handed in.
        """
        deadline = time.monotonic() + patience_s
        for pid in self._submitters:
            processes.check(pid, self._log)
        while (left := self._count_open()) and time.monotonic() < deadline:
            self.crew.tend()
            time.sleep(_LOOK_S)
        return left

    def _count_open(self) -> int:
        with psycopg.connect(self._url) as connection:
            row = connection.execute(self._adapter.OPEN).fetchone()
            assert row is not None
            left: int = row[0]
            return left


Nemesis = Callable[[Play, Random, float], dict[str, Any]]
"""Does what it does to a play, waits, and says what came of it."""


def run(name: str, adapter: Adapter, nemesis: Nemesis, *, seed: int, patience_s: float) -> dict[str, Any]:
    """One whole run on a Postgres of its own, and what came of it.

    Raises: RuntimeError: the system could not be driven.
    """
    load_before = os.getloadavg()[0]
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="outlast-peers-") as folder, PostgresServer() as server:
        play = Play(adapter, server.url("postgres"), Path(folder))
        try:
            found = nemesis(play, Random(seed), patience_s)
        finally:
            play.crew.dismiss()
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
        "jobs": play.jobs,
        "left_by_themselves": play.crew.left,
        **found,
    }


def kill(play: Play, dice: Random, patience_s: float, *, kills: int) -> dict[str, Any]:
    """SIGKILL of one worker after the other, each in the middle of a job, and another in its place."""
    crew = play.crew
    effective = 0
    for _ in range(kills):
        time.sleep(GAP_S)
        play.submit()
        victim = dice.choice(crew.await_busy(dice) or crew.alive)
        crew.replace(victim)
        effective += victim.look()
    last_us = now_us()
    left = play.await_end(patience_s)
    waited_s = (now_us() - last_us) / 1e6
    verdict = judge(range(play.jobs), crew.histories(), crew.deaths_us)
    lasted_s = (last_us - play.began_us) / 1e6
    return {
        "kills": kills,
        "kills_in_work": effective,
        "never_finished": verdict.never_finished,
        "open_in_database": left,
        "finished_twice": verdict.finished_twice,
        "interrupted": verdict.interrupted,
        "rerun": verdict.rerun,
        "rerun_per_kill": round(verdict.rerun / kills, 2),
        "rerun_alive": verdict.rerun_alive,
        "recovery_s": _rounded(verdict.recovery_s),
        "recovery_median_s": _rounded(verdict.recovery_median_s),
        "kills_s": round(lasted_s, 1),
        "jobs_per_s": round(sum(at_us <= last_us for at_us in verdict.first_ends_us) / lasted_s),
        "all_done_s": None if verdict.never_finished else round((verdict.ended_us - play.began_us) / 1e6, 1),
        "waited_s": round(waited_s, 1),
    }


def freeze(play: Play, dice: Random, patience_s: float, *, rounds: int) -> dict[str, Any]:
    """SIGSTOP of two workers in the middle of jobs, and SIGCONT a while later."""
    crew = play.crew
    freezes: list[Freeze] = []
    for _ in range(rounds):
        time.sleep(GAP_S)
        play.submit()
        victims = crew.await_busy(dice)[:FROZEN]
        since_us = now_us()
        for victim in victims:
            crew.freeze(victim)
        time.sleep(FREEZE_S)
        freezes += [Freeze(victim.name, since_us, now_us()) for victim in victims]
        for victim in victims:
            crew.thaw(victim)
    left = play.await_end(patience_s)
    histories = crew.histories()
    verdict = judge(range(play.jobs), histories, crew.deaths_us)
    frozen = judge_freezes(histories, freezes)
    return {
        "freezes": len(freezes),
        "frozen_jobs": frozen.jobs,
        "taken_over": frozen.taken_over,
        "takeover_s": _rounded(frozen.slowest_s),
        "never_finished": verdict.never_finished,
        "open_in_database": left,
        "finished_twice": verdict.finished_twice,
        "rerun": verdict.rerun,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
