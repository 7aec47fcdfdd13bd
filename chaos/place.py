"""The database under test, and a way past the engine to look at its rows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import psycopg

from harness.binaries import NoPostgres
from harness.freezing import keeps_others_out
from harness.postgres import PostgresServer
from outlast import Engine

DATABASE: Final = "chaos"


class NoPlace(Exception):
    """The database that a scenario needs cannot be had here; the text is one sentence saying why."""


_COLUMNS = (
    "id, program, status, state, result, attempt, crashes, epoch, commits, commit_epoch, parent, child, awaits,"
    " concurrency_key, version"
)
_MAIL = "SELECT instance, name, payload, consumed_{at} IS NOT NULL FROM {signals}"
_JOURNAL = "SELECT instance, key, status, number, attempt, value FROM {journal}"
_CELLS = "SELECT id, state FROM {objects} WHERE type = 'Cell' AND state IS NOT NULL"
_OWED = (
    "SELECT (SELECT count(*) FROM {alarms} WHERE failed_{at} IS NULL)"
    " + (SELECT count(*) FROM {calls} WHERE answered_{at} IS NULL AND deadline_{at} IS NULL)"
)
_CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database() AND application_name LIKE 'outlast %' ORDER BY random() LIMIT 3) AS picked"
)
_WITHIN = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s || ' %%'"
    " AND state LIKE 'idle in transaction%%'"
)
_SIZES = (
    "SELECT (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid ="
    " c.relnamespace WHERE n.nspname = 'outlast' AND c.relkind = 'r'), (SELECT sum(size) FROM pg_ls_waldir())"
)
_ROWS = f"SELECT {_COLUMNS} FROM {{instances}}"
_LIVE = "SELECT status, count(*) FROM {instances} WHERE finished_{at} IS NULL GROUP BY status ORDER BY status"


class Row(NamedTuple):
    """An instance, as the database has it."""

    id: str
    program: str
    status: str
    state: str
    result: str | None
    attempt: int
    crashes: int
    epoch: int
    commits: int
    commit_epoch: int
    parent: str | None = None
    child: int = 0
    awaits: str | None = None
    concurrency_key: str | None = None
    version: int = 1


class Mail(NamedTuple):
    """A signal, as the database has it; the payload is JSON text."""

    instance: str
    name: str
    payload: str
    is_used: bool


class Note(NamedTuple):
    """What a workflow has recorded, as the database has it; the value is JSON text."""

    instance: str
    key: str
    status: str
    number: int
    attempt: int
    value: str | None


class Place(Protocol):
    """A database with the tables in it.

    Attributes:
        store: `sqlite` or `postgres`.
        url: Its address.
        version: Of the database.
    """

    store: str
    url: str
    version: str

    def rows(self) -> list[Row]:
        """All instances."""

    def mail(self) -> list[Mail]:
        """All signals that are kept, used up or not."""

    def journal(self) -> list[Note]:
        """All that workflows have recorded."""

    def cells(self) -> dict[str, str]:
        """The state of every object that the crash runs have called, by id."""

    def owed(self) -> int:
        """Alarms that have not rung and one-way calls that have not come. Raises what the driver raises."""

    def cut(self) -> int:
        """Ends some connections of the processes. Returns how many."""

    def live(self) -> dict[str, int]:
        """How many instances have not ended, by status. Raises what the driver raises."""

    def damage(self) -> str | None:
        """What the database finds wrong with its own files; None: nothing."""

    def sizes_mb(self) -> dict[str, float]:
        """What the tables and the write-ahead log take, in millions of bytes."""

    def tamper(self, *texts: str) -> None:
        """Executes statements that the engine knows nothing of."""

    def is_held_by(self, pid: int) -> bool:
        """Whether this process, which stands still, keeps all others from writing."""


class SqlitePlace:
    """A file. See `Place`."""

    store = "sqlite"
    version = sqlite3.sqlite_version

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self._query(_ROWS.format(instances="outlast_instances"))]

    def mail(self) -> list[Mail]:
        rows = self._query(_MAIL.format(signals="outlast_signals", at="us"))
        return [Mail(instance, name, payload, bool(is_used)) for instance, name, payload, is_used in rows]

    def cells(self) -> dict[str, str]:
        return dict(self._query(_CELLS.format(objects="outlast_objects")))

    def owed(self) -> int:
        return int(self._query(_OWED.format(alarms="outlast_alarms", calls="outlast_calls", at="us"))[0][0])

    def cut(self) -> int:
        return 0

    def live(self) -> dict[str, int]:
        return dict(self._query(_LIVE.format(instances="outlast_instances", at="us")))

    def journal(self) -> list[Note]:
        return [Note(*row) for row in self._query(_JOURNAL.format(journal="outlast_journal"))]

    def damage(self) -> str | None:
        found = self._query("PRAGMA integrity_check(3)")
        return None if found == [("ok",)] else "; ".join(str(row[0]) for row in found)

    def sizes_mb(self) -> dict[str, float]:
        log = Path(f"{self._path}-wal")
        return {
            "tables, MB": self._path.stat().st_size / 1e6,
            "log, MB": (log.stat().st_size if log.exists() else 0) / 1e6,
        }

    def tamper(self, *texts: str) -> None:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            for text in texts:
                connection.execute(text)

    def is_held_by(self, pid: int) -> bool:
        return keeps_others_out(pid, self._path)

    def _query(self, text: str) -> list[Any]:
        # Read only: the last connection that could write would fold the log back when it closes.
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(text).fetchall()


class PostgresPlace:
    """A database of a server that may be killed. See `Place`.

    Attributes:
        server: The server.

    Args:
        url: Its address for the processes, where that is another than ours.
    """

    store = "postgres"

    def __init__(self, server: PostgresServer, *, url: str | None = None) -> None:
        self.server = server
        self._own_url = server.create_database(DATABASE)
        self.url = url or self._own_url
        self.version = server.describe().split()[1]

    def rows(self) -> list[Row]:
        columns = _ROWS.replace("id, program", "id::text, program", 1).replace(" parent,", " parent::text,", 1)
        return [Row(*row) for row in self._query(columns.format(instances="outlast.instances"))]

    def mail(self) -> list[Mail]:
        text = _MAIL.replace("instance,", "instance::text,", 1)
        return [Mail(*row) for row in self._query(text.format(signals="outlast.signals", at="at"))]

    def cells(self) -> dict[str, str]:
        return dict(self._query(_CELLS.format(objects="outlast.objects")))

    def owed(self) -> int:
        return int(self._query(_OWED.format(alarms="outlast.alarms", calls="outlast.calls", at="at"))[0][0])

    def cut(self) -> int:
        return int(self._query(_CUT)[0][0])

    def is_in_transaction(self, name: str) -> bool:
        """Whether a process of this name is in the middle of a transaction, and so holds its locks."""
        with psycopg.connect(self._own_url, autocommit=True, connect_timeout=5) as connection:
            (found,) = connection.execute(_WITHIN, (f"outlast {name}",)).fetchone() or (0,)
        return bool(found)

    def live(self) -> dict[str, int]:
        return dict(self._query(_LIVE.format(instances="outlast.instances", at="at")))

    def journal(self) -> list[Note]:
        text = _JOURNAL.replace("instance,", "instance::text,", 1)
        return [Note(*row) for row in self._query(text.format(journal="outlast.journal"))]

    def damage(self) -> str | None:
        return None

    def sizes_mb(self) -> dict[str, float]:
        ((tables, log),) = self._query(_SIZES)
        return {"tables, MB": int(tables) / 1e6, "log, MB": int(log) / 1e6}

    def tamper(self, *texts: str) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            for text in texts:
                connection.execute(text)

    def is_held_by(self, pid: int) -> bool:
        return False

    def _query(self, text: str) -> list[Any]:
        with psycopg.connect(self._own_url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(text).fetchall()


@contextmanager
def sqlite_place(folder: Path) -> Iterator[SqlitePlace]:
    """A fresh file in a folder."""
    place = SqlitePlace(folder / "outlast.db")
    make_tables(place.url)
    yield place


@contextmanager
def postgres_place(folder: Path) -> Iterator[PostgresPlace]:
    """A fresh database on a server of its own. Raises: NoPlace."""
    try:
        server = PostgresServer(durable=False)  # what is killed here is the server, never the machine.
    except NoPostgres as error:
        raise NoPlace(str(error)) from error
    with server:
        place = PostgresPlace(server)
        make_tables(place.url)
        yield place


MakePlace = Callable[[Path], AbstractContextManager[Place]]
PLACES: dict[str, MakePlace] = {"sqlite": sqlite_place, "postgres": postgres_place}


def make_tables(url: str) -> None:
    """Makes our tables in an empty database."""
    asyncio.run(_migrate(url))


async def _migrate(url: str) -> None:
    await Engine(url, programs=()).migrate()
