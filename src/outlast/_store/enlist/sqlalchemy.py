"""SQLAlchemy's sessions and connections, synchronous and asynchronous, on whatever driver they use.

A session or connection opens a transaction at the first statement, and our insert belongs to it; with the
isolation level AUTOCOMMIT each insert commits by itself. A session is not flushed by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from outlast._store.statements import Statement
from outlast.errors import ConfigError

_DIALECTS: Final = {"postgresql": "postgres", "sqlite": "sqlite"}


class SqlalchemyLane:
    """See `inserts.Lane`. For `Connection`, `Session` and `scoped_session`."""

    is_async: ClassVar[bool] = False

    def __init__(self, connection: Any) -> None:
        self._given = connection

    @property
    def dialect(self) -> str:
        """See `inserts.Lane`."""
        return _dialect(self._given)

    def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        from sqlalchemy import text

        connection = self._given.connection() if _is_session(self._given) else self._given
        found: list[Any] = connection.execute(text(statement.text), values).fetchall()
        return found


class AsyncSqlalchemyLane:
    """See `inserts.Lane`. For `AsyncConnection`, `AsyncSession` and `async_scoped_session`."""

    is_async: ClassVar[bool] = True

    def __init__(self, connection: Any) -> None:
        self._given = connection

    @property
    def dialect(self) -> str:
        """See `inserts.Lane`."""
        return _dialect(self._given)

    async def fetch(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """See `inserts.Lane`."""
        from sqlalchemy import text

        connection = await self._given.connection() if _is_session(self._given) else self._given
        found: list[Any] = (await connection.execute(text(statement.text), values)).fetchall()
        return found


def _is_session(given: Any) -> bool:
    """Sessions find their connection; a connection has one already, and its `.connection` is the driver's."""
    return hasattr(given, "get_bind")


def _dialect(given: Any) -> str:
    from sqlalchemy.exc import UnboundExecutionError

    try:
        name: str = (given.get_bind() if _is_session(given) else given).dialect.name
    except UnboundExecutionError as error:
        raise ConfigError(
            "connection: this SQLAlchemy session is bound to no database, or to several; "
            "pass the connection it uses: session.connection(bind_arguments={...})"
        ) from error
    return _DIALECTS.get(name, name)
