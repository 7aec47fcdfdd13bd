"""Two Postgres servers, one of which follows the other: the first may die, and the second takes its place."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from chaos.place import DATABASE, NoPlace, PostgresPlace, make_tables
from chaos.tails import Versions, versions
from harness import processes
from harness.binaries import NoPostgres
from harness.postgres import USER, PostgresServer
from harness.replicas import Replica, await_state, replicate_to, written_after
from harness.waiting import eventually

_NAME: Final = "follower"
_STILL_S: Final = 0.06
"""A replica without a primary has applied all when nothing has moved for so long."""
_PATIENCE_S: Final = 30.0


class Pair(PostgresPlace):
    """A database on a primary with one replica. The processes have both addresses. See `Place`.

    Args:
        synchronous: Whether commits wait for the replica.
    """

    def __init__(self, primary: PostgresServer, spare_port: int, *, synchronous: bool) -> None:
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{spare_port}"
        super().__init__(primary, url=f"postgresql://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write")
        self._spare_port = spare_port
        self._synchronous = synchronous
        self._replica: Replica | None = None
        self._dead: PostgresServer | None = None
        self._place = ("0/0", 1)

    def follow(self) -> None:
        """Builds the replica anew, and waits until it keeps up."""
        replica = Replica(self.server, name=_NAME, durable=False, port=self._spare_port)
        self._replica = replica
        replica.start()
        if self._synchronous:
            replicate_to(self.server, _NAME)
        else:
            with self._look(self.server) as connection:
                await_state(connection, _NAME, "async")

    def hold_back(self) -> None:
        """From now on nothing reaches the replica: its link has died, and nobody has noticed yet."""
        with self._look(self.server) as connection:
            for (pid,) in connection.execute("SELECT pid FROM pg_stat_replication").fetchall():
                processes.kill(pid, signal.SIGSTOP)

    def kill(self) -> None:
        """The machine of the primary dies."""
        self.server.kill_postmaster(whole=True)

    def applied(self) -> Versions:
        """The rows of the replica, once it has applied all that it has received."""
        assert self._replica is not None
        with self._look(self._replica) as connection:
            self._place = self._await_applied(connection)
            return versions(connection)

    def promote(self) -> None:
        """Lets the replica take over."""
        assert self._replica is not None
        self._replica.promote()
        self._dead, self.server, self._replica = self.server, self._replica, None
        self._spare_port = self._dead.port
        self._own_url = self.server.url(DATABASE)

    def _await_applied(self, connection: psycopg.Connection[Any]) -> tuple[str, int]:
        """The place where the replica's log ends, and the timeline."""

        def state() -> tuple[Any, ...]:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM pg_stat_wal_receiver), pg_last_wal_replay_lsn()::text,"
                " (SELECT timeline_id FROM pg_control_checkpoint())"
            ).fetchone()
            assert row is not None
            return tuple(row)

        def still() -> tuple[Any, ...] | None:
            before = state()
            time.sleep(_STILL_S)
            return before if before[0] == 0 and before == state() else None

        found = eventually(still, timeout=_PATIENCE_S, what="the replica to have applied all")
        assert found is not None
        return str(found[1]), int(found[2])

    def left(self) -> tuple[Versions, set[int]]:
        """The rows of the dead primary, which nobody else reaches, and the transactions that it had to itself."""
        assert self._dead is not None
        written = written_after(self._dead, *self._place)
        self._dead.start_hidden()
        with self._look(self._dead) as connection:
            found = versions(connection)
        self._dead.close()
        self._dead = None
        return found, written

    @contextmanager
    def _look(self, server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(server.url(DATABASE), autocommit=True, connect_timeout=5) as connection:
            yield connection

    def close(self) -> None:
        """Ends all servers."""
        for server in (self._replica, self._dead, self.server):
            if server is not None:
                server.close()


@contextmanager
def pair(folder: Path, *, synchronous: bool) -> Iterator[Pair]:
    """A fresh database on two servers of their own. Raises: NoPlace."""
    try:
        primary = PostgresServer(durable=False)
        primary.start()
        # A server that is never started keeps the port's number from others for a moment only; that is enough.
        with PostgresServer(durable=False) as spare:
            spare_port = spare.port
        place = Pair(primary, spare_port, synchronous=synchronous)
        try:
            make_tables(place.url)
            place.follow()
            yield place
        finally:
            place.close()
    except NoPostgres as error:
        raise NoPlace(str(error)) from error
