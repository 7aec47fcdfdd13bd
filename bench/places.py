"""Where a measurement takes place: a fresh database, what it costs there, and who counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg

from harness.binaries import Binaries, find_binaries
from harness.databases import Databases, without_password
from harness.postgres import PostgresServer
from harness.waiting import eventually

Counts = dict[str, int | None]


class Database(Protocol):
    """One empty database.

    Attributes:
        store: `postgres` or `sqlite`.
        url: Its address.
        about: One line on what it is.
    """

    store: str
    url: str
    about: str

    def cpu_s(self) -> float | None:
        """CPU seconds that the database's own processes have used so far; None: it has none, or they are not ours."""

    def counts(self) -> Counts:
        """Commits and statements so far, where the database counts; nobody may be connected to it."""

    def counts_since(self, before: Counts) -> Counts:
        """What came since. Nothing is said of what the database does not count."""

    def vacuum(self) -> bool:
        """Clears away dead rows, as Postgres does by itself once a minute. False: this database has none."""


class SqliteFile:
    """A file of SQLite. It works inside its callers: they count, and its CPU is theirs."""

    store = "sqlite"

    def __init__(self, url: str) -> None:
        self.url = url
        self.about = "SQLite"

    def cpu_s(self) -> float | None:
        return None

    def counts(self) -> Counts:
        return {}

    def counts_since(self, before: Counts) -> Counts:
        return {}

    def vacuum(self) -> bool:
        return False


class PostgresDatabase:
    """A database of Postgres, which counts transactions by itself and statements if `pg_stat_statements` is loaded."""

    store = "postgres"

    def __init__(self, server: Databases, url: str) -> None:
        self._server = server
        self.url = url
        self.about = server.describe()
        self._name = url.partition("?")[0].rpartition("/")[2]

    def cpu_s(self) -> float | None:
        return self._server.cpu_seconds() if isinstance(self._server, PostgresServer) else None

    def counts(self) -> Counts:
        # A backend adds what it did to the statistics when it ends, a moment after its client.
        alone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        eventually(lambda: self._ask(alone), what="closing every connection")
        statements = None
        with suppress(psycopg.Error):
            statements = self._ask(
                "SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements AS s JOIN pg_database AS d"
                " ON d.oid = s.dbid WHERE d.datname = %s"
            )
        commits = self._ask("SELECT xact_commit FROM pg_stat_database WHERE datname = %s")
        return {"commits": commits, "statements": statements}

    def counts_since(self, before: Counts) -> Counts:
        after = self.counts()
        return {name: None if (old := before[name]) is None else (after[name] or 0) - old for name in after}

    def vacuum(self) -> bool:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        return True

    def _ask(self, question: str) -> Any:
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            row = connection.execute(question.encode(), [self._name]).fetchone()
            assert row is not None
            return row[0]


@contextmanager
def fresh_database(store: str, url: str | None) -> Iterator[Database]:
    """An empty database of `store`, gone afterwards.

    Args:
        store: `postgres` or `sqlite`.
        url: A running Postgres on which we may create databases, or the file that SQLite shall make. Default: a
            server of our own; a file in the machine's temporary folder.

    Raises: NoPostgres. FileExistsError: SQLite's file is there already.
    """
    opened = _postgres(url) if store == "postgres" else _sqlite(url)
    with opened as database:
        yield database


@contextmanager
def _sqlite(url: str | None) -> Iterator[Database]:
    if url is None:
        with tempfile.TemporaryDirectory(prefix="outlast-bench-") as folder:
            yield SqliteFile(f"sqlite:///{folder}/bench.db")
        return
    path = Path(url.removeprefix("sqlite:///")).absolute()
    if path.exists():
        raise FileExistsError(f"{path} exists; the benchmark makes a file of its own and deletes it")
    try:
        yield SqliteFile(f"sqlite:///{path}")
    finally:
        for file in (path.name, f"{path.name}.floor"):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(file + suffix).unlink(missing_ok=True)


@contextmanager
def _postgres(url: str | None) -> Iterator[Database]:
    if url is not None:
        server = Databases(url, about=f"Postgres at {without_password(url)}")
        with server.fresh_database() as fresh:
            yield PostgresDatabase(server, fresh)
        return
    binaries = find_binaries()
    settings = {"shared_preload_libraries": "pg_stat_statements"} if _counts_statements(binaries) else {}
    with PostgresServer(binaries=binaries, settings=settings) as own:
        if settings:
            with psycopg.connect(own.url(), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
        with own.fresh_database() as fresh:
            yield PostgresDatabase(own, fresh)


def _counts_statements(binaries: Binaries) -> bool:
    """Whether this Postgres brings the extension, which not every build does."""
    return any(binaries.folder.parent.glob("lib/**/pg_stat_statements.*"))
