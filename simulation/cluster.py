"""Processes that share a database: how they start, die, freeze and go on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from outlast import Engine
from outlast._runtime import crew
from outlast._store.sqlite import store
from outlast.config import Config, make_config
from outlast.engine import life
from outlast.errors import StoreError
from simulation.database import Database, SimulatedWriter
from simulation.lease import SimulatedNode
from simulation.universe import ProcessLoop, Universe
from simulation.world import SimulatedWorld

OPTIONS: Final[dict[str, Any]] = {
    "lease": 2.0,
    "reap_interval": 0.5,
    "poll_interval": 0.2,
    "max_poll_interval": 2.0,
    "prune_interval": 20.0,
    "drain_timeout": 1.0,
    "max_crashes": 1_000_000,
    "telemetry": "off",
    "log_capture": "off",
}
_RESTART_S: Final = 0.1

_made: list[SimulatedWorld] = []
_configs: dict[str, Config] = {}


@contextmanager
def simulated() -> Iterator[None]:
    """Engines that a cluster makes inside live in it."""
    stand_ins: list[tuple[Any, str, Any]] = [
        (store, "Writer", SimulatedWriter),
        (crew, "Node", SimulatedNode),
        (life, "SystemWorld", _made.pop),
        (life, "make_config", _config),
    ]
    former = [getattr(module, name) for module, name, _ in stand_ins]
    for module, name, stand_in in stand_ins:
        setattr(module, name, stand_in)
    try:
        yield
    finally:
        for (module, name, _), real in zip(stand_ins, former, strict=True):
            setattr(module, name, real)


def _config(url: str | None, options: Any) -> Config:
    # Settings are read from files and checked once: a process that starts again has the same.
    key = repr(sorted(options.items()))
    if key not in _configs:
        _configs[key] = make_config(url, options)
    return _configs[key]


class Process:
    """One run of one process: an engine and what it lives on.

    Attributes:
        name: Of the process; each of its runs has the same.
        engine: Its engine.
        world: Its clocks.
        is_alive: It has not been killed, and has not ended.
        is_still: It is frozen or blocked.
    """

    def __init__(self, name: str, engine: Engine, world: SimulatedWorld, loop: ProcessLoop, lane: ProcessLoop) -> None:
        self.name = name
        self.engine = engine
        self.world = world
        self.is_alive = True
        self.is_still = False
        self.opened = asyncio.Event()
        self._loop = loop
        self._lane = lane
        self._universe = loop.universe
        loop.owner = lane.owner = self

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine in this process."""
        self._loop.call_soon(lambda: self._loop.create_task(coroutine))

    def spawn_open(self, act: Callable[[Engine], Coroutine[Any, Any, Any]]) -> None:
        """Runs something in this process once its engine is open."""

        async def live() -> None:
            await self.opened.wait()
            await act(self.engine)

        self.spawn(live())

    @property
    def is_open(self) -> bool:
        """Whether its engine is open."""
        return self.opened.is_set()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_alive = False
        self._loop.die()
        self._lane.die()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.is_still = True
        self._universe.halt(self._loop)
        self._universe.halt(self._lane)

    def block(self) -> None:
        """Its event loop stands still, as behind a step that never waits; the thread of its lease does not."""
        self.is_still = True
        self._universe.halt(self._loop)

    def thaw(self) -> None:
        """SIGCONT, or the step has ended."""
        self.is_still = False
        for loop in (self._loop, self._lane):
            if not loop.is_dead:
                self._universe.go_on(loop)

    def drain(self, ended: Callable[[], None]) -> None:
        """SIGTERM: it shuts down as engines do, and ends."""
        self.spawn(self._end(ended))

    async def _end(self, ended: Callable[[], None]) -> None:
        with contextlib.suppress(StoreError):
            await self.engine.close()
        if self.is_alive:
            self.kill()
            ended()


class Cluster:
    """The processes and their database.

    Args:
        universe: Their time.
        dice: Seeds of their worlds.
    """

    def __init__(self, universe: Universe, database: Database, dice: random.Random) -> None:
        self.universe = universe
        self.database = database
        self.processes: dict[str, Process] = {}
        self.starts = 0
        self._dice = dice

    def start(self, name: str, programs: Iterable[Any], *, queues: dict[str, int], **options: Any) -> Process:
        """Starts a process with an engine."""
        self.starts += 1
        loop, lane = self.universe.loop(), self.universe.loop()
        world = SimulatedWorld(self.universe, self.database, lane, self._dice.getrandbits(60))
        _made.append(world)
        engine = Engine("sqlite://", programs=list(programs), queues=queues, **{**OPTIONS, **options})
        process = self.processes[name] = Process(name, engine, world, loop, lane)
        process.spawn(_live(process))
        return process

    def alive(self) -> list[Process]:
        """Processes that run, or stand still."""
        return [each for each in self.processes.values() if each.is_alive]


async def _live(process: Process) -> None:
    while True:
        try:
            await process.engine.open()
            process.opened.set()
            return
        except StoreError:  # whoever runs a worker starts it again.
            await asyncio.sleep(_RESTART_S)
