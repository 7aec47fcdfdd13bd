"""Django's connections: `django.db.connection` and those in `django.db.connections`, on Postgres and SQLite.

Inside of `transaction.atomic()` the insert belongs to it. Outside, Django's connections commit every
statement by themselves (unless AUTOCOMMIT is off), so each insert does too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from outlast._store.enlist.styles import positional
from outlast._store.statements import Statement

_DIALECTS: Final = {"postgresql": "postgres", "sqlite": "sqlite"}


class DjangoLane:
    """See `inserts.Lane`. Both backends understand `%s`; names they do not understand alike."""

    is_async: ClassVar[bool] = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def dialect(self) -> str:
        """See `inserts.Lane`."""
        # A cache is handed out in the same wrapping as a database.
        vendor: str = getattr(self._connection, "vendor", "no database")
        return _DIALECTS.get(vendor, vendor)

    def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        text, order = positional(statement)
        with self._connection.cursor() as cursor:
            cursor.execute(text, [values[name] for name in order])
            found: list[Any] = cursor.fetchall()
            return found
