"""The workers of one run: who is alive, what each runs at the moment, who died when."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from random import Random
from typing import Final

from chaos.history import Event, Reader, now_us
from chaos.peers import duty, processes
from chaos.peers.adapters import Adapter

_BUSY_S: Final = 60.0
"""How long is waited for a worker that runs a job."""
_DELAY_S: Final = 0.02
"""A fault comes up to this long after a worker was seen at work, so that it hits all moments of a job."""


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

    def await_busy(self, dice: Random) -> list[Worker]:
        """Those in the middle of a job, at a moment that the dice choose; nobody, if none is for a long time."""
        deadline = time.monotonic() + _BUSY_S
        while not self.busy():
            self.tend()
            if time.monotonic() > deadline:
                return []
            time.sleep(0.001)
        time.sleep(dice.uniform(0, _DELAY_S))
        return self.busy()

    def tend(self) -> None:
        """Replaces those that have ended by themselves, as every supervisor does."""
        for worker in list(self.alive):
            if processes.is_gone(worker.pid):
                self.left += 1
                self._bury(worker)

    def freeze(self, worker: Worker) -> None:
        """SIGSTOP."""
        os.kill(worker.pid, signal.SIGSTOP)

    def thaw(self, worker: Worker) -> None:
        """SIGCONT."""
        os.kill(worker.pid, signal.SIGCONT)

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
