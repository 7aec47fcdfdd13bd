"""The one database of a simulation: real SQLite and the store's real statements, behind a network that fails.

A transaction happens whole, at one virtual instant, some time after it was asked for; its answer comes some time after
that. Either may be lost, and whoever asked may be dead by then: what was under way happens all the same.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from outlast._store.sqlite.faults import translated
from outlast.errors import EngineStateError, StoreFull, StoreUnavailable
from simulation.universe import ProcessLoop, Universe

Call = Callable[[sqlite3.Connection], Any]

GIVE_UP_S: Final = 2.0
"""After so long an answer that does not come counts as lost: as a driver's timeout does."""


@dataclass
class Weather:
    """How likely what is, for each transaction; a seed draws its own.

    Attributes:
        lost_requests, lost_answers: Shares of transactions, from 0 to 1.
        slow: Share that takes up to `slow_s` seconds.
        latency_s: The longest way of one message, usually.
        dropped_bells: Share of notices of commits that nobody hears.
    """

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    slow: float = 0.0
    slow_s: float = 1.0
    latency_s: float = 0.004
    dropped_bells: float = 0.0


class Database:
    """The server side.

    Attributes:
        weather: What goes wrong, and how often.
        is_away: Whether it answers nobody.
        is_full: Whether it has no space left.
        transactions: So far, with those that only read; `writes` of them wrote and were committed.
        lost: Requests and answers lost so far.
        issuer: Whose transaction this is.
        on_commit, on_rollback: What has happened in it counts, or does not.
        on_written: It was written, and its answer is not on its way yet.
    """

    def __init__(self, universe: Universe, dice: random.Random, weather: Weather) -> None:
        self.weather = weather
        self.is_away = self.is_full = False
        self.transactions = self.writes = 0
        self.lost = 0
        self.issuer: Any = None
        self.on_written: Callable[[Any], None] = lambda issuer: None
        self.on_commit: Callable[[], None] = lambda: None
        self.on_rollback: Callable[[], None] = lambda: None
        self._universe = universe
        self._dice = dice
        self._bells: list[tuple[ProcessLoop, Callable[[], None]]] = []
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.connection.execute("PRAGMA temp_store = MEMORY")

    def way_s(self) -> float:
        """How long a message is under way."""
        dice, weather = self._dice, self.weather
        if weather.slow and dice.random() < weather.slow:
            return dice.random() * weather.slow_s
        return dice.random() * weather.latency_s

    def send(self, loop: AbstractEventLoop, call: Call, probe: Call | None, *, writes: bool) -> Future[Any]:
        """A transaction is asked for. Its answer comes to the loop of whoever asked."""
        future: Future[Any] = loop.create_future()
        now, dice, weather = self._universe.now, self._dice, self.weather
        if weather.lost_requests and dice.random() < weather.lost_requests:
            self.lost += 1
            self._universe.at(now + GIVE_UP_S * dice.random(), lambda: self._answer(loop, future, None, _gone()))
            return future

        def arrive() -> None:
            if self.is_away:
                value: Any = None
                error: BaseException | None = _gone()
            else:
                self.issuer, before = getattr(loop, "owner", None), self.writes
                value, error = self.transact(call, probe, writes=writes)
                if self.writes != before:
                    self.on_written(self.issuer)
                if weather.lost_answers and dice.random() < weather.lost_answers:
                    self.lost += 1
                    value, error = None, _gone()
            way_s = 0.0 if dice.random() < 0.5 else self.way_s()
            self._universe.at(self._universe.now + way_s, lambda: self._answer(loop, future, value, error))

        self._universe.at(now + self.way_s(), arrive)
        return future

    def _answer(self, loop: AbstractEventLoop, future: Future[Any], value: Any, error: BaseException | None) -> None:
        loop.call_soon(_settle, future, value, error)

    def transact(
        self, call: Call, probe: Call | None = None, *, writes: bool = True
    ) -> tuple[Any, BaseException | None]:
        """One transaction, at this instant: what it gives, or its error."""
        connection = self.connection
        self.transactions += 1
        try:
            if not writes:
                return call(connection), None
            if probe is not None and not (seen := probe(connection)):
                return seen, None
            if self.is_full:
                raise StoreFull("the simulated disk is full")
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            value = call(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            self.on_rollback()
            return None, translated(error)
        self.writes += 1
        self.on_commit()
        if connection.total_changes != before:
            self._ring()
        return value, None

    def listen(self, loop: ProcessLoop, heard: Callable[[], None]) -> None:
        """Calls `heard` in a process some time after each commit."""
        self._bells = [(each, call) for each, call in self._bells if not each.is_dead]
        self._bells.append((loop, heard))

    def _ring(self) -> None:
        dice, drops = self._dice, self.weather.dropped_bells
        for loop, heard in self._bells:
            if not loop.is_dead and (not drops or dice.random() >= drops):
                self._universe.at(self._universe.now + self.way_s(), _Bell(loop, heard))


class _Bell:
    __slots__ = ("heard", "loop")

    def __init__(self, loop: ProcessLoop, heard: Callable[[], None]) -> None:
        self.loop = loop
        self.heard = heard

    def __call__(self) -> None:
        self.loop.call_soon(self.heard)


def _gone() -> StoreUnavailable:
    return StoreUnavailable("the simulated connection was lost")


def _settle(future: Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class SimulatedWriter:
    """Stands where the store's writer stands. See `outlast._store.sqlite.writer.Writer`."""

    def __init__(
        self, connect: Any, *, path: Path | None, world: Any, busy_s: float, label: str, checkpoints: bool = True
    ):
        self._database: Database = world.database
        self.started = False
        self._closed = False

    async def open(self) -> None:
        self.started = True

    async def close(self) -> None:
        self._closed = True

    def watch(self, heard: Callable[[], None]) -> None:
        loop = get_running_loop()
        assert isinstance(loop, ProcessLoop)
        self._database.listen(loop, heard)

    async def write(self, call: Call, *, probe: Call | None = None) -> Any:
        return await self._send(call, probe, writes=True)

    async def read(self, call: Call) -> Any:
        return await self._send(call, None, writes=False)

    def _send(self, call: Call, probe: Call | None, *, writes: bool) -> Future[Any]:
        if not self.started:
            raise EngineStateError("the SQLite store is not open")
        if self._closed:
            raise StoreUnavailable("the SQLite store is closed")
        return self._database.send(get_running_loop(), call, probe, writes=writes)
