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
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._run(statement.format(sql.Identifier(name), sql.Identifier(template or "template1")))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and whoever is connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def fresh_database(self, *, patience_s: float = 3.0) -> Iterator[str]:
        """The URL of a new, empty database, dropped at the end.

        Raises: AssertionError: `patience_s` seconds after the end somebody is still connected to it.
        """
        name = f"test_{uuid.uuid4().hex[:16]}"
        url = self.create_database(name)
        try:
            yield url
            self._await_disconnected(name, patience_s)
        finally:
            self.drop_database(name)

    def _await_disconnected(self, name: str, patience_s: float) -> None:
        try:
            # A backend ends a moment after its client has closed the connection.
            eventually(lambda: not self._connected(name), timeout=patience_s, what="closing every connection")
        except AssertionError as error:
            error.add_note("\n".join(f"still connected: {who}" for who in self._connected(name)))
            raise

    def _connected(self, name: str) -> list[str]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid, application_name, state, left(query, 200) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'",
                [name],
            )
            return [str(row) for row in rows]

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


def without_password(url: str) -> str:
    """The same URL, fit to be shown."""
    return re.sub(r"(://[^:/@]*):[^@/]*@|([?&]password=)[^&]*", _masked, url)


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}:***@" if match[1] is not None else f"{match[2]}***"
