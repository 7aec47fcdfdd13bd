"""The standard library's `sqlite3.Connection`.

By default it opens a transaction before our insert if none is open, so that the caller must commit; with
`autocommit=False` (Python 3.12) one is always open. With `isolation_level=None` or `autocommit=True`, and
outside of a `BEGIN`, every statement commits by itself, so each insert does too. An open transaction with
writes in it keeps the engine, and everybody else, from writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, ClassVar

from outlast._store.statements import Statement


class SqliteLane:
    """See `inserts.Lane`."""

    is_async: ClassVar[bool] = False
    dialect = "sqlite"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        with closing(self._connection.cursor()) as cursor:
            cursor.row_factory = None  # The caller's may give mappings.
            found: list[Any] = cursor.execute(statement.text, values).fetchall()
            return found
