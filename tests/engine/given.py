"""What the engine's tests start from: engines, events heard, rows seen, replies lost."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from outlast import Engine
from outlast.errors import StoreUnavailable
from tests.store.given import Database

SOON_S = 20.0
"""Nothing that a test waits for takes longer; only a failing test waits that long."""

PATIENT = {"poll_interval": 60.0, "max_poll_interval": 60.0, "programs": ()}
"""Polls once a minute: a test that passes was woken. Knows what is started here, and nothing of other tests."""


@dataclass
class Engines:
    """Engines on one database.

    Attributes:
        url: The database.
        open: Opens an engine with `PATIENT` and the options given; closed at the test's end.
    """

    url: str
    open: Callable[..., Awaitable[Engine]]

    @staticmethod
    def make(url: str, **options: Any) -> Engine:
        """An engine as `open` opens it, closed."""
        return Engine(url, **PATIENT | options)

    def new(self, **options: Any) -> Engine:
        """A closed engine on this database."""
        return self.make(self.url, **options)


@contextmanager
def own_connection(url: str) -> Iterator[Any]:
    """A caller's own synchronous connection to the same database, in a transaction."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as lite:
            yield lite
        return
    with closing(psycopg.connect(url)) as connection:
        yield connection


class Table:
    """The rows, as the database has them."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, _no_store)
        self._is_sqlite = url.startswith("sqlite")

    def seen(self, id: str, column: str) -> Any:
        """One column of one instance."""
        return self._database.peek(id, column)

    def poke(self, id: str, **columns: Any) -> None:
        """Writes columns behind the engine's back."""
        self._database.poke(id, **columns)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement with `?` parameters; `{instances}` names the table."""
        return self._database.query(text, *values)

    def delete(self, id: str) -> None:
        """Removes a row whatever it is doing."""
        self._database.query("DELETE FROM {instances} WHERE id = ?", id)

    def bury_all(self) -> None:
        """Removes every node's sign of life."""
        self._database.query("DELETE FROM {nodes}")


class Ear:
    """Hears an engine's events from now on."""

    def __init__(self, engine: Engine) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._news = asyncio.Event()
        engine.events.listen(self._hear)

    def _hear(self, name: str, fields: dict[str, Any]) -> None:
        self.heard.append((name, fields))
        self._news.set()

    def all(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of this name that carry these fields."""
        return [said for known, said in self.heard if known == name and fields.items() <= said.items()]

    async def hears(self, name: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Waits until `count` such events were heard; the last of them."""
        async with asyncio.timeout(SOON_S):
            while len(found := self.all(name, **fields)) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]


class Tally:
    """Counts executions, and lets a test wait for the n-th."""

    def __init__(self) -> None:
        self.count = 0
        self.notes: list[Any] = []
        self._news = asyncio.Event()

    def add(self, note: Any = None) -> int:
        """One more. How many that makes."""
        self.count += 1
        self.notes.append(note)
        self._news.set()
        return self.count

    async def reaches(self, count: int) -> None:
        """Waits until there were this many."""
        async with asyncio.timeout(SOON_S):
            while self.count < count:
                self._news.clear()
                await self._news.wait()


async def soon(awaitable: Awaitable[Any]) -> Any:
    """What it answers, within `SOON_S`."""
    async with asyncio.timeout(SOON_S):
        return await awaitable


class Spoilt:
    """A method of a store's noun that fails when told to.

    Args:
        noun: Such as `engine._store.claims`.
        method: The method's name.
    """

    def __init__(self, noun: Any, method: str) -> None:
        self._real = getattr(noun, method)
        self._lose = 0
        self._full = False
        self._refuse = 0
        self._error: Callable[[], BaseException] = _connection_lost
        self.calls = 0
        self.spoilt = asyncio.Event()
        setattr(noun, method, self._call)

    def lose_replies(self, count: int = 1, *, full: bool = False) -> None:
        """The next calls do their work and then seem to have failed; `full`: those that have something to tell."""
        self._lose = count
        self._full = full

    def refuse(self, count: int = 1, error: Callable[[], BaseException] | None = None) -> None:
        """The next calls fail before they do anything."""
        self._refuse = count
        self._error = error or _connection_lost

    def mend(self) -> None:
        """Works again."""
        self._lose = self._refuse = 0

    async def _call(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self._refuse:
            self._refuse -= 1
            self.spoilt.set()
            raise self._error()
        answer = await self._real(*args, **options)
        if self._lose and (answer or not self._full):
            self._lose -= 1
            self.spoilt.set()
            raise _connection_lost()
        return answer


def _connection_lost() -> StoreUnavailable:
    return StoreUnavailable("the connection was lost")


def _no_store(*_: Any, **__: Any) -> Any:
    raise AssertionError("an engine's tests use engines")
