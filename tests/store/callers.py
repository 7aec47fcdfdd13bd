"""A caller for each kind of connection that `start(connection=...)` takes, with a transaction open.

Each is as unlike our own connections as its users make theirs: rows that are mappings, JSON codecs, odd cursors.
Callers that block live in a thread of their own, as they do in a web server.
"""

import asyncio
import inspect
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import django
import django.conf
import django.db
import psycopg
import sqlalchemy
from django.db import transaction as django_transaction
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.pool import NullPool

from outlast._model import Held, NewInstance
from outlast._store.contract import Enlisted


@dataclass
class Caller:
    """Someone else's connection in someone else's transaction.

    Attributes:
        connection: What is handed to `start`.
        execute: Runs the caller's own SQL in that transaction.
        commit, rollback: End it.
        close: Lets go of everything; a list, run in order.
    """

    connection: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    close: Sequence[Callable[[], Any]]
    thread: ThreadPoolExecutor | None = field(default=None)

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Calls, in the caller's thread or task, as it would itself."""
        if self.thread is not None:
            return await asyncio.get_running_loop().run_in_executor(self.thread, call, *arguments)
        answer = call(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def add(self, place: Enlisted, rows: Sequence[NewInstance], queues: Sequence[str] = ("mail",)) -> list[Held]:
        """Inserts as the engine does."""
        assert place.is_async == (self.thread is None)
        held: list[Held] = await self.run(place.add, rows, queues)
        return held


@asynccontextmanager
async def calling(dialect: str, kind: str, url: str) -> AsyncIterator[Caller]:
    """The caller of that kind. What is open at the end is rolled back."""
    opened = OPENERS[dialect][kind](url)
    if inspect.iscoroutine(opened):
        caller: Caller = await opened
    else:
        thread = ThreadPoolExecutor(1, thread_name_prefix="caller")
        caller = await asyncio.get_running_loop().run_in_executor(thread, opened)
        caller.thread = thread
    try:
        yield caller
    finally:
        for close in caller.close:
            await caller.run(close)
        if caller.thread is not None:
            caller.thread.shutdown()


def _sqlite3(url: str, **options: Any) -> Caller:
    connection = sqlite3.connect(_path(url), **options)
    connection.row_factory = lambda cursor, row: {name[0]: row[i] for i, name in enumerate(cursor.description)}
    if options:
        connection.execute("BEGIN")
    commit, rollback = connection.commit, connection.rollback
    return Caller(connection, connection.execute, commit, rollback, [connection.close])


async def _asyncpg(url: str) -> Caller:
    connection = await asyncpg.connect(url)
    await _with_codecs(connection)
    return await _asyncpg_caller(connection, connection.close)


async def _asyncpg_pool(url: str) -> Caller:
    pool = await asyncpg.create_pool(url, min_size=1, max_size=1, init=_with_codecs)
    connection = await pool.acquire()
    return await _asyncpg_caller(connection, lambda: pool.release(connection), pool.close)


async def _with_codecs(connection: Any) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _asyncpg_caller(connection: Any, *close: Callable[[], Any]) -> Caller:
    transaction = connection.transaction()
    await transaction.start()
    return Caller(connection, connection.execute, transaction.commit, transaction.rollback, close)


def _psycopg(url: str) -> Caller:
    connection = psycopg.connect(url, row_factory=dict_row, cursor_factory=psycopg.RawCursor)
    execute: Any = connection.execute
    return Caller(connection, execute, connection.commit, connection.rollback, [connection.close])


async def _psycopg_async(url: str) -> Caller:
    connect = psycopg.AsyncConnection.connect
    connection = await connect(url, row_factory=dict_row, cursor_factory=psycopg.AsyncRawCursor)
    execute: Any = connection.execute
    return Caller(connection, execute, connection.commit, connection.rollback, [connection.close])


def _sqlalchemy(url: str, shape: str) -> Caller:
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    given: Any
    if shape == "connection":
        given = engine.connect()
    elif shape == "session":
        given = orm.Session(engine)
    else:
        given = orm.scoped_session(orm.sessionmaker(engine))
    return _sqlalchemy_caller(given, engine)


async def _sqlalchemy_async(url: str, shape: str) -> Caller:
    engine = sqlalchemy_asyncio.create_async_engine(url, poolclass=NullPool)
    given: Any
    if shape == "connection":
        given = await engine.connect()
    elif shape == "session":
        given = sqlalchemy_asyncio.AsyncSession(engine)
    else:
        maker = sqlalchemy_asyncio.async_sessionmaker(engine)
        given = sqlalchemy_asyncio.async_scoped_session(maker, scopefunc=lambda: None)
    return _sqlalchemy_caller(given, engine)


def _sqlalchemy_caller(given: Any, engine: Any) -> Caller:
    def execute(sql: str) -> Any:
        return given.execute(sqlalchemy.text(sql))

    return Caller(given, execute, given.commit, given.rollback, [given.close, engine.dispose])


def _django(settings: dict[str, Any], *, proxy: bool) -> Caller:
    """A connection belongs to its thread: in the new thread of each caller Django opens a new one."""
    if not django.conf.settings.configured:
        django.conf.settings.configure(LOGGING_CONFIG=None)
        django.setup()
    handler: Any = django.db.connections
    handler.settings = handler.configure_settings({"default": settings})
    connection: Any = django.db.connection if proxy else handler["default"]
    atomic = django_transaction.atomic()
    atomic.__enter__()

    def execute(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def leave(*, rollback: bool) -> None:
        if rollback:
            django_transaction.set_rollback(True)
        atomic.__exit__(None, None, None)

    return Caller(
        connection,
        execute,
        commit=lambda: leave(rollback=False),
        rollback=lambda: leave(rollback=True),
        close=[handler.close_all],
    )


def _django_sqlite(url: str, *, proxy: bool) -> Caller:
    return _django({"ENGINE": "django.db.backends.sqlite3", "NAME": _path(url)}, proxy=proxy)


def _django_postgres(url: str, *, proxy: bool) -> Caller:
    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    given = {ours: str(parts[theirs]) for ours, theirs in names.items() if theirs in parts}
    return _django({"ENGINE": "django.db.backends.postgresql", **given}, proxy=proxy)


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _driver(url: str, driver: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.replace('postgres:', 'postgresql:')}+{driver}://{rest}"


_SHAPES = ("connection", "session", "scoped_session")
Opener = Callable[[str], Any]
"""Given a URL, a coroutine of a Caller; or a function to be called in the caller's thread."""


def _in_thread(make: Callable[..., Caller], *arguments: Any, driver: str | None = None, **options: Any) -> Opener:
    return lambda url: lambda: make(_driver(url, driver) if driver else url, *arguments, **options)


def _awaited(shape: str, driver: str) -> Opener:
    return lambda url: _sqlalchemy_async(_driver(url, driver), shape)


def _sqlalchemy_openers(blocking: Sequence[str], awaited: Sequence[str]) -> dict[str, Opener]:
    openers: dict[str, Opener] = {}
    for shape in _SHAPES:
        for driver in blocking:
            openers[f"sqlalchemy-{driver}-{shape}"] = _in_thread(_sqlalchemy, shape, driver=driver)
        for driver in awaited:
            openers[f"sqlalchemy-{driver}-async_{shape}"] = _awaited(shape, driver)
    return openers


OPENERS: dict[str, dict[str, Opener]] = {
    "sqlite": {
        "sqlite3": _in_thread(_sqlite3),
        "sqlite3-begun": _in_thread(_sqlite3, isolation_level=None),
        "django": _in_thread(_django_sqlite, proxy=True),
        "django-wrapper": _in_thread(_django_sqlite, proxy=False),
        **_sqlalchemy_openers(["pysqlite"], ["aiosqlite"]),
    },
    "postgres": {
        "asyncpg": _asyncpg,
        "asyncpg-pool": _asyncpg_pool,
        "psycopg": _in_thread(_psycopg),
        "psycopg-async": _psycopg_async,
        "django": _in_thread(_django_postgres, proxy=True),
        "django-wrapper": _in_thread(_django_postgres, proxy=False),
        **_sqlalchemy_openers(["psycopg"], ["asyncpg", "psycopg"]),
    },
}
KINDS = [(dialect, kind) for dialect, openers in OPENERS.items() for kind in openers]
