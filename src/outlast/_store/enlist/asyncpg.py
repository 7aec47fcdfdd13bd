"""asyncpg's connections, a pool's included.

Outside of `async with connection.transaction()` every statement commits by itself, so each insert does too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from outlast._store.statements import Statement


class AsyncpgLane:
    """See `inserts.Lane`."""

    is_async: ClassVar[bool] = True
    dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        arguments = [values[name] for name in statement.parameters]
        found: list[Any] = await self._connection.fetch(statement.numbered, *arguments)
        return found
