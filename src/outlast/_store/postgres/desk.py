"""What every noun of this store shares: a lane, the statements and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outlast._store.postgres.links import Lane
from outlast._store.statements import Statement
from outlast._world import World, instant


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

    async def rows(self, name: str, /, **values: Any) -> list[Any]:
        """One reading statement's rows."""
        statement = self.sql[name]
        return await self.lane.read(statement.numbered, [values[key] for key in statement.parameters])
