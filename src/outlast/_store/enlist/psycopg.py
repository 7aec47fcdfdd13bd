"""psycopg 3's connections, synchronous and asynchronous.

psycopg opens a transaction at the first statement, and our insert belongs to it. With `autocommit=True`, and
outside of `connection.transaction()`, every statement commits by itself, so each insert does too.

The cursor is made here and not by the connection, whose own may give rows as mappings or know other
placeholders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from outlast._store.enlist.styles import pyformat
from outlast._store.statements import Statement


class PsycopgLane:
    """See `inserts.Lane`."""

    is_async: ClassVar[bool] = False
    dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        import psycopg

        with psycopg.Cursor(self._connection, row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(pyformat(statement).encode(), values)
            return cursor.fetchall()


class AsyncPsycopgLane:
    """See `inserts.Lane`."""

    is_async: ClassVar[bool] = True
    dialect = "postgres"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        import psycopg

        async with psycopg.AsyncCursor(self._connection, row_factory=psycopg.rows.tuple_row) as cursor:
            await cursor.execute(pyformat(statement).encode(), values)
            return await cursor.fetchall()
