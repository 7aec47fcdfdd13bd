"""From the caller's connection, of whatever kind, to a place to insert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from outlast._store.contract import Enlisted
from outlast._store.enlist.asyncpg import AsyncpgLane
from outlast._store.enlist.django import DjangoLane
from outlast._store.enlist.inserts import Awaiting, Blocking, Inserts, Lane
from outlast._store.enlist.psycopg import AsyncPsycopgLane, PsycopgLane
from outlast._store.enlist.sqlalchemy import AsyncSqlalchemyLane, SqlalchemyLane
from outlast._store.enlist.sqlite import SqliteLane
from outlast.errors import ConfigError

# By the names of classes and not by the classes: a look at a connection must import no driver. A pool, an
# engine or a cursor is none of these: it has no transaction of its own to join.
LANES: Final[Mapping[str, type[Lane]]] = {
    "asyncpg.connection.Connection": AsyncpgLane,
    "asyncpg.pool.PoolConnectionProxy": AsyncpgLane,
    "psycopg.Connection": PsycopgLane,
    "psycopg.AsyncConnection": AsyncPsycopgLane,
    "sqlalchemy.engine.base.Connection": SqlalchemyLane,
    "sqlalchemy.orm.session.Session": SqlalchemyLane,
    "sqlalchemy.orm.scoping.scoped_session": SqlalchemyLane,
    "sqlalchemy.ext.asyncio.engine.AsyncConnection": AsyncSqlalchemyLane,
    "sqlalchemy.ext.asyncio.session.AsyncSession": AsyncSqlalchemyLane,
    "sqlalchemy.ext.asyncio.scoping.async_scoped_session": AsyncSqlalchemyLane,
    "django.db.backends.base.base.BaseDatabaseWrapper": DjangoLane,
    "django.utils.connection.ConnectionProxy": DjangoLane,
    "sqlite3.Connection": SqliteLane,
}
_EITHER: Final = "a SQLAlchemy Session, AsyncSession, Connection or AsyncConnection, or Django's connection"
_TAKEN: Final = {
    "postgres": f"an asyncpg Connection, a psycopg Connection or AsyncConnection, {_EITHER}",
    "sqlite": f"a sqlite3.Connection, {_EITHER}",
}
_SHOWN: Final = {"postgres": "Postgres", "sqlite": "SQLite"}


def enlist(connection: Any, *, dialect: str, schema: str, notify: bool, now_us: Callable[[], int | None]) -> Enlisted:
    """The caller's own connection as a place to insert. It is neither committed nor closed here.

    What the driver raises passes through unchanged: whoever owns a transaction retries it by these errors.
    In REPEATABLE READ and above, a key held by a row newer than the caller's snapshot is such an error on Postgres.

    Args:
        connection: See `LANES`. It must lead to the engine's database.
        dialect: The engine's database: "sqlite" or "postgres".
        schema: The engine's schema, a checked identifier.
        notify: Whether Postgres rings the doorbell when the caller commits; on SQLite the commit itself is
            noticed. Not for two-phase commits: Postgres refuses to prepare a transaction with a NOTIFY.
        now_us: The instant to insert with; None leaves it to Postgres. SQLite must be given one.

    Raises: ConfigError: the connection is of a kind not known, or leads to another kind of database.
    """
    lane = _lane_class(connection, dialect)(connection)
    if lane.dialect != dialect:
        other = _SHOWN.get(lane.dialect, lane.dialect)
        raise ConfigError(
            f"connection: this {_named(connection)} leads to {other}, and the engine's database is "
            f"{_SHOWN[dialect]}; pass a connection to the engine's database"
        )
    inserts = Inserts(dialect, schema, notify=notify, now_us=now_us)
    return Awaiting(inserts, lane) if lane.is_async else Blocking(inserts, lane)


def _lane_class(connection: Any, dialect: str) -> type[Lane]:
    for ancestor in type(connection).__mro__:
        if found := LANES.get(f"{ancestor.__module__}.{ancestor.__qualname__}"):
            return found
    raise ConfigError(f"connection: cannot insert on a {_named(connection)}; expected {_TAKEN[dialect]}")


def _named(connection: Any) -> str:
    kind = type(connection)
    return f"{kind.__module__}.{kind.__qualname__}"
