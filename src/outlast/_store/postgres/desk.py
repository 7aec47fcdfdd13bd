"""What every noun of this store shares: a lane, the statements and the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from outlast._store.postgres.links import Lane
from outlast._store.statements import Statement
from outlast._world import World, instant

if TYPE_CHECKING:
    from outlast._store.postgres.links import Connection

T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """Statements by name within one transaction, each with a snapshot of its own.

    Attributes:
        connection: Where it runs.
        sql: The statements, by name.
        now: The instant that statements take as now; None: the server's.
    """

    connection: Connection
    sql: Mapping[str, Statement]
    now: datetime | None

    async def rows(self, name: str, /, **values: Any) -> list[Any]:
        """A statement's rows."""
        statement = self.sql[name]
        return await self.connection.fetch(statement.numbered, *[values[key] for key in statement.parameters])

    async def run(self, name: str, /, **values: Any) -> int:
        """A statement without rows. Returns the count of rows changed."""
        statement = self.sql[name]
        tag = await self.connection.execute(statement.numbered, *[values[key] for key in statement.parameters])
        return int(tag[tag.rindex(" ") :])


@dataclass(slots=True)
class Desk:
    """The tools of a noun.

    Attributes:
        lane: Where its statements run.
        sql: The statements, by name.
        world: For a pinned instant; the clock is the server's.
    """

    lane: Lane
    sql: Mapping[str, Statement]
    world: World

    def now(self, now_us: int | None = None) -> datetime | None:
        """The instant that statements take as now; None: the server's."""
        pinned_us = self.world.pinned_us() if now_us is None else now_us
        return None if pinned_us is None else instant(pinned_us)

    async def run(self, name: str, /, *, shielded: bool = True, **values: Any) -> int:
        """One writing statement. Returns the count of rows changed. `shielded=False`: see `Lane.count`."""
        statement = self.sql[name]
        ordered = [values[key] for key in statement.parameters]
        return await self.lane.count(statement.numbered, ordered, shielded=shielded)

    async def change(self, name: str, /, **values: Any) -> list[Any]:
        """One writing statement's rows."""
        statement = self.sql[name]
        return await self.lane.write(statement.numbered, [values[key] for key in statement.parameters])

    async def transact(self, call: Callable[[Transaction], Awaitable[T]]) -> T:
        """What `call` makes of several statements in one transaction; made again when another one was in the way."""
        return await self.lane.transact(lambda connection: call(Transaction(connection, self.sql, self.now())))

    async def rows(self, name: str, /, **values: Any) -> list[Any]:
        """One reading statement's rows."""
        statement = self.sql[name]
        return await self.lane.read(statement.numbered, [values[key] for key in statement.parameters])
