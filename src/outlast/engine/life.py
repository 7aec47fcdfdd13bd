"""How an engine is made, opened and closed, and what it knows of its tables."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from outlast._kernel.objects import OBJECTS, ObjectTypes, Orders
from outlast._kernel.program import DEFINED, Catalogue, Program
from outlast._runtime.crew import Crew
from outlast._runtime.events import Events, Listener
from outlast._store.contract import Store
from outlast._store.door import database_file, open_store, sharing_warning, shown_url
from outlast._world import SystemWorld, World
from outlast.config import Config, Options, make_config, shown
from outlast.errors import ConfigError, EngineStateError, WorkflowError
from outlast.jobs import Job
from outlast.machines import Machine
from outlast.objects import Object
from outlast.workflows import Step, Workflow, current_flow

Runnable = Program | Job[..., Any, Any, Any] | Workflow[..., Any] | Step[..., Any] | type[Machine] | type[Object]
"""What an engine can be told to run: a job, a workflow, a step that is to run elsewhere, or the class of a machine or
of an object."""


class Life:
    """What every part of the engine shares: settings, store, programs; and how it opens and closes."""

    def __init__(
        self,
        url: str | None = None,
        *,
        programs: Iterable[Runnable] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.config: Config = make_config(url, options)
        self._world: World = SystemWorld()
        given = [] if programs is None else list(programs)
        self._types = ObjectTypes(each.outlast_kind for each in given if is_object(each))  # type: ignore[union-attr]
        self._catalogue = Catalogue(_program_of(each) for each in given if not is_object(each))
        self._adopts = programs is None
        self._adopted = -1
        self._store: Store = open_store(self.config, self._world)
        self._events = Events(self.config.name)
        self._crew: Crew | None = None
        self._turning = self._closing = False

    def configure(self, url: str | None = None, **options: Unpack[Options]) -> None:
        """Changes settings before the engine is opened; what is left out stays as it is.

        Raises: ConfigError. EngineStateError: it is open.
        """
        if self._crew is not None:
            raise EngineStateError("this engine is running: its settings cannot be changed any more")
        given: dict[str, Any] = dict(options) if url is None else {"url": url, **options}
        self.config = replace(self.config, **given)
        self._events.rename(self.config.name)
        self._store = open_store(self.config, self._world)

    def _inhabit(self, config: Config, world: World) -> tuple[Config, World]:
        """Gives a closed engine other settings and another clock, and returns the former: for the test kit."""
        if self._crew is not None or self._turning:
            raise EngineStateError("this engine is open: its settings cannot be changed any more")
        former = self.config, self._world
        self.config, self._world = config, world
        self._events.rename(config.name)
        self._store = open_store(config, world)
        return former

    def _look_at_the_clock(self) -> None:
        """The clock has jumped: something may be due."""
        if self._crew is not None:
            self._crew.doorbell.timer()
            self._crew.doorbell.schedule()
            self._crew.keeper.alarms.earlier()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Opens the database and starts the loops.

        Raises: StoreError: it cannot be used; SchemaError: run `migrate` first (Postgres). EngineStateError.
        """
        if self._turning:
            raise EngineStateError("this engine is just being opened or closed")
        if self._crew is not None:
            raise EngineStateError("this engine is running already")
        self._turning = True
        try:
            self._adopt()
            crew = Crew(
                self.config,
                self._store,
                self._catalogue,
                self._world,
                events=self._events,
                refresh=self._adopt,
                types=self._types,
                make_ref=self._make_ref,
            )
            try:
                await self._store.open()
                self._crew = crew  # before the first step runs: it may use the engine.
                await crew.open()
                await self._begin()
            except BaseException:
                self._crew = None
                await crew.abort()
                await self._let_go()
                raise
        finally:
            self._turning = False

    def _make_ref(self, cls: Any, id: str, orders: Callable[[], Orders]) -> Any:
        """A reference to an object for another one, whose one-way calls become orders."""
        raise NotImplementedError

    async def _begin(self) -> None:
        """What is done once the loops run."""

    async def close(self) -> None:
        """Stops in two phases: running steps may end for `drain_timeout`, then are cancelled and given back.

        What was claimed and not started is given back at once. None of it costs an attempt.
        """
        crew = self._crew
        if crew is None or self._closing:
            return
        self._turning = self._closing = True
        try:
            await crew.close()  # what still runs may use the engine to its end.
        finally:
            self._crew, self._closing = None, False
            try:
                await self._let_go()
            finally:
                self._turning = False

    async def _let_go(self) -> None:
        """Closes the store; a store is opened once, so the next opening takes a new one."""
        store, self._store = self._store, open_store(self.config, self._world)
        await store.close()

    async def run_forever(self) -> None:
        """Opens, runs until SIGTERM, SIGINT or cancellation, and closes. A second signal ends the process at once."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        signals = []
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread.
                loop.add_signal_handler(number, _stop_or_end, stop, number)
                signals.append(number)
        try:
            async with self:
                await stop.wait()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _adopt(self) -> None:
        """Knows the programs defined since it last looked."""
        if self._adopts and self._adopted != DEFINED.changes:
            self._adopted = DEFINED.changes
            for program in DEFINED:
                self._catalogue.add(program)
        if self._adopts:
            for kind in OBJECTS:
                self._types.add(kind)

    def _running(self) -> Crew:
        if self._crew is None:
            raise EngineStateError("the engine is not open: use `async with engine:` or `await engine.open()` first")
        if current_flow() is not None:
            raise WorkflowError("a workflow's own code cannot use the engine, for it runs again: do it in a step")
        return self._crew

    @property
    def events(self) -> Events:
        """What the engine reports."""
        return self._events

    def on(self, pattern: str, callback: Listener | None = None) -> Any:
        """Calls `callback(name, fields)` for every event that fits: a name such as "step.failed", or "step.*".

            @engine.on("instance.ended")
            def ended(name, fields): ...

        It is called on the engine's loop and should be quick; its errors are logged and forgotten. Before the engine is
        opened it misses nothing. `docs/reference/events.md` lists the events and their fields.

        Returns: A function that ends it; as a decorator, the callback itself.

        Raises: ConfigError: no event is called that; the callback is a coroutine function.
        """
        if callback is not None:
            return self._events.on(pattern, callback)

        def decorate(given: Listener) -> Listener:
            self._events.on(pattern, given)
            return given

        return decorate

    @property
    def programs(self) -> list[Program]:
        """What this engine can run."""
        self._adopt()
        return list(self._catalogue)

    def program(self, name: str) -> Program:
        """The newest version of a program by name. Raises: UnknownProgram."""
        self._adopt()
        return self._catalogue.newest(name)

    async def migrate(self) -> list[int]:
        """Brings the tables up to this release; safe from many processes at once, and when there is nothing to do.

        SQLite does this by itself when it opens. Returns the versions applied.
        """
        if self._crew is not None:
            return await self._store.schema.migrate()
        store = open_store(self.config, self._world)
        try:
            return await store.schema.migrate()
        finally:
            await store.close()

    async def tables(self) -> tuple[int, int]:
        """The version of the tables (0: there are none), and the one that this release needs. For a closed engine."""
        store = open_store(self.config, self._world)
        path = self.database_file
        if path is not None and not path.exists():
            return 0, store.schema.latest  # looking must not make a file.
        try:
            return await store.schema.version(), store.schema.latest
        finally:
            await store.close()

    def migration_script(self, since: int = 0) -> str:
        """The SQL that brings tables of version `since` up to this release."""
        return self._store.schema.script(since)

    async def drop_tables(self) -> None:
        """Deletes this engine's tables and everything in them, for good. For a closed engine: demos and tests."""
        store = open_store(self.config, self._world)
        try:
            await store.schema.drop()
        finally:
            await store.close()

    def describe(self) -> str:
        """The database in one line, without secrets."""
        return self._store.describe()

    @property
    def shown_url(self) -> str:
        """The database's URL without secrets."""
        return shown_url(self.config)

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database, whether it exists or not; None: it is in memory, or not SQLite."""
        return database_file(self.config)

    @property
    def sharing_warning(self) -> str | None:
        """What to know before several processes use this database; None: nothing."""
        return sharing_warning(self.config)


def _stop_or_end(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(signal.Signals(number))
    stop.set()


def _program_of(what: Runnable) -> Program:
    program: Any = getattr(what, "outlast_program", what)
    if isinstance(program, type) or not callable(getattr(program, "retention_s", None)):
        raise ConfigError(
            "programs must hold jobs, workflows, the classes of machines and objects, and steps with on= or a limit, "
            f"not {shown(what)}"
        )
    found: Program = program
    return found


def is_object(what: Any) -> bool:
    """Whether this is the class of an object."""
    return isinstance(what, type) and issubclass(what, Object)
