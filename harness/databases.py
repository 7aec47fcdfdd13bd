"""The databases of one Postgres server, made and dropped by URL."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from harness.waiting import eventually

_URL = re.compile(r"(?P<server>postgres(?:ql)?://[^/?#]*)(?:/[^?#]*)?(?P<options>\?[^#]*)?")


class Databases:
    """A Postgres that tests may fill: its address, and a way to get a fresh database.

    Args:
        url: The address of any of its databases. Its user must be allowed to create databases.
        about: One line on where this server comes from.

    Raises: ValueError: not a Postgres URL.
    """

    def __init__(self, url: str, *, about: str) -> None:
        if not _URL.fullmatch(url):
            raise ValueError(f"expected postgresql://user@host/database, got {without_password(url)!r}")
        self._url = url
        self._about = about
        self._kept: psycopg.Connection | None = None

    def url(self, database: str = "postgres") -> str:
        """The address of one database of this server."""
        match = _URL.fullmatch(self._url)
        assert match is not None
        return f"{match['server']}/{database}{match['options'] or ''}"

    def describe(self) -> str:
        """One line telling where this server comes from and what it is."""
        return self._about

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given, and return its URL."""
        with self._session() as session:
            # Copied as files, it needs neither a journal nor to be read in anew.
            strategy = "STRATEGY FILE_COPY" if session.info.server_version >= 150_000 else ""
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}" + strategy)
            session.execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template1")))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and whoever is connected to it."""
        with self._session() as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def one_session(self) -> Iterator[None]:
        """Until the end, what is done here is done in one session: hundreds of them cost as much as their work."""
        with self._session() as self._kept:
            try:
                yield
            finally:
                self._kept = None

    @contextmanager
    def fresh_database(self, *, template: str | None = None, patience_s: float = 3.0) -> Iterator[str]:
        """The URL of a new database, empty or a copy of `template`, dropped at the end.

        Raises: AssertionError: `patience_s` seconds after the end somebody is still connected to it.
        """
        name = f"test_{uuid.uuid4().hex[:16]}"
        url = self.create_database(name, template=template)
        try:
            yield url
            self._await_disconnected(name, patience_s)
        finally:
            self.drop_database(name)

    def _await_disconnected(self, name: str, patience_s: float) -> None:
        try:
            # A backend ends a moment after its client has closed the connection.
            eventually(
                lambda: not self._connected(name), timeout=patience_s, poll=0.005, what="closing every connection"
            )
        except AssertionError as error:
            error.add_note("\n".join(f"still connected: {who}" for who in self._connected(name)))
            raise

    def _connected(self, name: str) -> list[str]:
        with self._session() as session:
            rows = session.execute(
                "SELECT pid, application_name, state, left(query, 200) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'",
                [name],
            )
            return [str(row) for row in rows]

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        if self._kept is not None:
            yield self._kept
            return
        with psycopg.connect(self._url, autocommit=True) as connection:
            yield connection


def without_password(url: str) -> str:
    """The same URL, fit to be shown."""
    return re.sub(r"(://[^:/@]*):[^@/]*@|([?&]password=)[^&]*", _masked, url)


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}:***@" if match[1] is not None else f"{match[2]}***"
