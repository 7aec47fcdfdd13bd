"""A second Postgres server that follows a first one, and may take its place."""

import re
import subprocess
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from harness.binaries import NoPostgres
from harness.postgres import USER, PostgresServer
from harness.waiting import eventually

_NEEDED = "pg_basebackup"
_PATIENCE_S = 30.0
# Where the log of a killed server ends, there is no record, or what is left of an older one.
_END_OF_LOG = ("error in WAL record at", "could not find a valid record")
_TRANSACTION = re.compile(r"tx:\s*(\d+)")


class Replica(PostgresServer):
    """A server made from a base backup of another one, which it follows from its start on.

    Args:
        primary: The server to follow; it runs.
        name: What the primary calls it: see `replicate_to`.
        more: As for `PostgresServer`.

    Raises: NoPostgres: as for `PostgresServer`, and when this Postgres comes without `pg_basebackup`.
    """

    def __init__(self, primary: PostgresServer, *, name: str, **more: Any) -> None:
        self._primary = primary
        self._name = name
        super().__init__(**more)
        if not (self._binaries.folder / _NEEDED).exists():
            self.close()
            raise NoPostgres(f"{self._binaries.describe()} comes without {_NEEDED}, which makes replicas")

    def _make_data(self) -> None:
        source = f"host=127.0.0.1 port={self._primary.port} user={USER} application_name={self._name}"
        self._do(
            *(_NEEDED, "--pgdata", str(self._data), "--dbname", source),
            *("--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"),
        )

    def promote(self) -> None:
        """Make it a primary, and wait until it takes writes."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(wait => true)")


def replicate_to(primary: PostgresServer, name: str | None) -> None:
    """Let commits on `primary` wait for the replica of this name from now on; None: for nobody.

    Returns when the replica keeps up, or, without one, at once.
    """
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        setting = sql.Literal(name or "")
        connection.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(setting))
        connection.execute("SELECT pg_reload_conf()")
        if name is not None:
            await_state(connection, name, "sync")


def await_state(connection: psycopg.Connection[Any], name: str, state: str) -> None:
    """Wait until a primary says of its replica that it streams, and is `sync` or `async`."""

    def states() -> Mapping[str, tuple[str, str]]:
        rows = connection.execute("SELECT application_name, state, sync_state FROM pg_stat_replication").fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}

    eventually(lambda: states().get(name) == ("streaming", state), timeout=_PATIENCE_S, what=f"{name} to be {state}")


def written_after(server: PostgresServer, lsn: str, timeline: int) -> set[int]:
    """The transactions that a server, which does not run, has committed at or after this place of its log.

    Raises: RuntimeError: its log cannot be read from there.
    """
    place = ["--path", str(server.data / "pg_wal"), "--timeline", str(timeline), "--start", lsn]
    command = [str(server.program("pg_waldump")), *place, "--rmgr", "Transaction"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode and not any(words in told.stderr for words in _END_OF_LOG):
        raise RuntimeError(f"pg_waldump: {told.stderr.strip()}")
    found: set[int] = set()
    for line in told.stdout.splitlines():
        if "desc: COMMIT" in line:
            match = _TRANSACTION.search(line)
            assert match is not None
            found.add(int(match[1]))
            _, _, within = line.partition("subxacts:")
            found |= {int(number) for number in within.partition(";")[0].split()}
    return found
