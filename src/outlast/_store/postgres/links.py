"""Connections to Postgres: two lanes of a few each, and single ones for the bell and the renewer.

Hardly any transaction of the engine's work spans two round trips: most hold a connection for one statement.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast._store.postgres.address import Address
from outlast._store.postgres.faults import is_in_the_way, is_refused, leaves_session, translated
from outlast._store.postgres.transport import notice_silence, read_by_little
from outlast._world import World, process_id
from outlast.config import Config
from outlast.errors import ConfigError, EngineStateError, StoreUnavailable

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")
Call = Callable[["Connection"], Awaitable[T]]

LANE_MAX: Final = 3
"""Connections of each lane at most."""
TRIES_MAX: Final = 8
"""Times that a statement is tried when another transaction is in the way."""
_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_nestloop": "off",
}
"""One plan for each statement, made once, and good for a table of any size.

A session keeps its plans until the table is analysed anew. One made while the table is empty would scan it, or an
index, from end to end, and a minute later there may be a million rows. With these settings nothing is left to choose
from but the indexes that the statements are written for.
"""
_REST_S: Final = 1.0
"""Once the server cannot be reached, a lane tries one connection at a time, and rests so long between two at most."""
_FIRST_REST_S: Final = 0.05
_TIMELINE: Final = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END"
"""A file of the server's log: its name begins with the timeline, in hexadecimal; each promotion begins the next."""
_CLOSE_S: Final = 5.0
_LATE_S: Final = 5.0
"""Seconds after `statement_timeout`, which the server keeps, until the client gives a connection up for lost."""
_SETTLE: Final = "SELECT FROM pg_logical_emit_message(true, 'outlast', '')"
"""A transaction that changes nothing. Its commit comes after all that can be seen, and waits for the same standbys."""


class Links:
    """How to connect, and the two lanes.

    Attributes:
        engine: For the engine's own loops: claims, commits, leases, due times.
        client: For what callers do, so that a flood of them cannot keep the engine waiting.
        connect_s: Seconds that connecting may take.
        patience_s: Seconds to wait for a connection: the statement before, and a new connection.
        closed: Nothing is begun any more.
    """

    def __init__(self, config: Config, address: Address, world: World) -> None:
        self._config = config
        self._address = address
        self.closed = False
        self._has_connected = False
        self._timeline = 0
        self.connect_s = address.connect_timeout_s or config.connect_timeout
        self.patience_s = config.statement_timeout + self.connect_s
        self.engine = Lane(self, "engine", world)
        self.client = Lane(self, "client", world)

    async def connect(self, role: str, *, timeout_s: float | None = None, **settings: str) -> Connection:
        """A connection of its own.

        Args:
            role: What the server's list of sessions calls it.
            timeout_s: Seconds for connecting and for each statement; None: as configured.
            settings: More of the server's settings for this session; not behind a transaction pooler.

        Raises: StoreError, ConfigError.
        """
        if self.closed:
            raise StoreUnavailable("the Postgres store is closed")
        options = self.options(role, settings)
        if timeout_s is not None:
            options.update(timeout=timeout_s, command_timeout=timeout_s)
        connection = await self._opened(options)
        transport = getattr(connection, "_transport", None)  # asyncpg has no public name for it.
        read_by_little(transport)
        notice_silence(transport, self._address.silence)
        if self.closed:  # meanwhile; nobody would close it after us.
            await disconnect(connection)
            raise StoreUnavailable("the Postgres store is closed")
        return connection

    async def _opened(self, options: dict[str, Any]) -> Connection:
        """A connection to a server of the newest timeline that was seen. Raises: StoreError, ConfigError.

        A primary that comes back after a failover takes writes as if nothing had happened, and in a URL of several
        servers it may be the first one: half of us would work on each.
        """
        connect = driver().connect
        for dsn in (options["dsn"], *self._address.servers):
            try:
                connection: Connection = await connect(**{**options, "dsn": dsn})
            except Exception as error:
                if dsn == options["dsn"]:
                    raise self.explained(error) from error
                continue  # of several, each is asked by itself now.
            try:
                timeline = await _timeline(connection, options["timeout"])
                if timeline is not None and timeline < self._timeline:
                    connection.terminate()
                    continue
                if self._has_connected:
                    await _settle(connection, options["timeout"])
            except BaseException as error:
                connection.terminate()
                if isinstance(error, Exception):
                    raise self.explained(error) from error
                raise
            self._timeline = timeline or self._timeline
            self._has_connected = True
            return connection
        raise StoreUnavailable(
            f"this Postgres is on timeline {timeline}, and one on {self._timeline} has been seen: it is the primary of "
            f"before a failover, and is used no more; if it is meant, start this process again ({self._address.shown})"
        )

    def options(self, role: str, settings: dict[str, str]) -> dict[str, Any]:
        """Arguments for asyncpg's `connect`."""
        config, address = self._config, self._address
        options: dict[str, Any] = {
            "dsn": address.dsn,
            "timeout": self.connect_s,
            "command_timeout": config.statement_timeout + _LATE_S,
            "max_cached_statement_lifetime": 0,
        }
        if address.system_roots:
            options["ssl"] = ssl.create_default_context()
        if config.pooler == "transaction":
            # Sessions are shared there: settings and prepared statements would be somebody else's.
            return {**options, "statement_cache_size": 0}
        timeout_ms = max(1, round(config.statement_timeout * 1000))
        server_settings = {
            "default_transaction_isolation": "read committed",
            **_PLANS,
            "statement_timeout": str(timeout_ms),
            "lock_timeout": str(max(1, timeout_ms // 3)),
            "idle_in_transaction_session_timeout": str(timeout_ms),
            **settings,
        }
        if not address.names_itself:
            server_settings["application_name"] = f"outlast {config.name}"[:50] + f" {role}"
        return {**options, "server_settings": server_settings}

    def explained(self, error: BaseException) -> BaseException:
        """An error of connecting, as ours; it names the address, and a file of certificates that cannot be read."""
        made = translated(error)
        if isinstance(made, StoreUnavailable):
            unread = [f"{name}={path}" for name, path in self._address.files.items() if not os.access(path, os.R_OK)]
            why = f"; {unread[0]} cannot be read" if unread else ""
            made = StoreUnavailable(f"{made}{why} ({self._address.shown})")
            made.__cause__ = error
        return made

    async def close(self) -> None:
        """Ends the lanes; what is being written is finished first, unless it takes long."""
        self.closed = True
        await asyncio.gather(self.engine.close(), self.client.close())


class Lane:
    """A few connections, made when they are needed, and statements on them.

    Not asyncpg's pool: its release costs a task, or even a round trip, which is half of what a small statement costs.
    """

    def __init__(self, links: Links, role: str, world: World) -> None:
        self._links = links
        self._role = role
        self._world = world
        self._slots: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        for _ in range(LANE_MAX):
            self._slots.put_nowait(None)
        self._connections: set[Connection] = set()
        self._writing: set[asyncio.Task[Any]] = set()
        self._turn = asyncio.Lock()
        self._refusals = 0
        self._refused_at = 0.0
        self._pid: int | None = None  # nobody's before its first use: a process may fork until then.

    async def read(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement that writes nothing. When the caller is cancelled, so is the statement."""

        async def fetch(connection: Connection) -> list[Any]:
            return await connection.fetch(text, *values)

        return await self._tried(fetch, self._finish)

    async def write(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement that writes. Once begun it is finished, also when the caller is cancelled."""

        async def fetch(connection: Connection) -> list[Any]:
            return await connection.fetch(text, *values)

        return await self._tried(fetch, self._finish_whole)

    async def count(self, text: str, values: Sequence[Any], *, shielded: bool = True) -> int:
        """As `write`, for a statement without rows: how many rows of the table it changed.

        `shielded=False` saves a task and two turns of the loop, for a caller that nobody cancels.
        """

        async def execute(connection: Connection) -> int:
            tag = await connection.execute(text, *values)
            return int(tag[tag.rindex(" ") :])

        return await self._tried(execute, self._finish_whole if shielded else self._finish)

    async def transact(self, call: Call[T]) -> T:
        """What `call` makes of a connection within one transaction. Once begun it is finished."""

        async def within(connection: Connection) -> T:
            async with connection.transaction():
                return await call(connection)

        return await self._tried(within, self._finish_whole)

    async def _tried(self, call: Call[T], finish: Callable[[Connection, Call[T]], Awaitable[T]]) -> T:
        """The call's answer on a free connection; again when another transaction was in the way."""
        tries = 0
        while True:
            connection = await self._acquire()
            try:
                return await finish(connection, call)
            except Exception as error:
                tries += 1
                if not is_in_the_way(error) or tries == TRIES_MAX:
                    made = translated(error)
                    if made is error:
                        raise
                    raise made from error
            await asyncio.sleep(0.002 * 2**tries * self._world.dice.random())

    async def _acquire(self) -> Connection:
        if self._links.closed:
            raise StoreUnavailable("the Postgres store is closed")
        if self._pid is None:
            self._pid = process_id()
        elif process_id() != self._pid:
            raise EngineStateError(
                "this process was forked after the engine was started; open a new engine in the child"
            )
        if self._slots.empty():
            try:
                async with asyncio.timeout(self._links.patience_s):
                    connection = await self._slots.get()
            except TimeoutError as error:
                raise StoreUnavailable("no connection to Postgres became free in time") from error
        else:
            connection = self._slots.get_nowait()
        if connection is not None and not connection.is_closed():
            return connection
        try:
            return await self._connect(connection)
        except BaseException:
            self._slots.put_nowait(None)
            raise

    async def _connect(self, former: Connection | None) -> Connection:
        if former is not None:
            self._connections.discard(former)
        if not self._refusals:
            return await self._dial()
        # The server is away, and every loop wants it: they take turns, so that its return is not a storm.
        async with self._turn:
            if self._refusals:
                rest_s = min(_REST_S, _FIRST_REST_S * 2.0 ** min(self._refusals, 10))
                await asyncio.sleep(self._refused_at + rest_s - self._world.monotonic())
            return await self._dial()

    async def _dial(self) -> Connection:
        try:
            connection = await self._links.connect(self._role)
        except StoreUnavailable:
            self._refusals += 1
            self._refused_at = self._world.monotonic()
            raise
        self._refusals = 0
        self._connections.add(connection)
        return connection

    async def _finish(self, connection: Connection, call: Call[T]) -> T:
        """Runs the call and gives the connection back."""
        try:
            return await call(connection)
        except Exception as error:
            if not leaves_session(error):
                # At once, before asyncpg cancels what took too long: a commit that waits for a standby would be shown.
                connection.terminate()
            raise
        finally:
            self._slots.put_nowait(connection)

    async def _finish_whole(self, connection: Connection, call: Call[T]) -> T:
        """The same in a task of ours, which the caller's cancellation does not reach."""
        task = asyncio.get_running_loop().create_task(self._finish(connection, call))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finishes what is being written, unless it takes long, and disconnects. Never raises."""
        if process_id() != self._pid:
            return  # after a fork, the sockets are the parent's.
        if self._writing:
            await asyncio.wait(self._writing, timeout=_CLOSE_S)
        connections, self._connections = self._connections, set()
        await asyncio.gather(*(disconnect(connection) for connection in connections))
        await asyncio.gather(*self._writing, return_exceptions=True)


async def _settle(connection: Connection, timeout_s: float) -> None:
    """Waits until all that can be seen over a connection is with the standbys that commits wait for.

    A crash of the server shows commits that were still waiting for them. One of ours whose answer was lost must not be
    told as made before they have it.
    """
    try:
        await connection.execute(_SETTLE, timeout=timeout_s)
    except Exception as error:
        if not is_refused(error):  # by a server that lets nobody call functions: it goes without.
            raise


async def _timeline(connection: Connection, timeout_s: float) -> int | None:
    """The number of the timeline that a server writes to; None: it writes none, or does not say."""
    try:
        name: str | None = await connection.fetchval(_TIMELINE, timeout=timeout_s)
    except Exception as error:
        if is_refused(error):
            return None
        raise
    return int(name[:8], 16) if name else None


async def disconnect(connection: Connection) -> None:
    """Ends a session: politely, and by force after a second. Never raises."""
    try:
        await connection.close(timeout=1.0)
    except Exception:  # it is closed, or will be now.
        connection.terminate()


def driver() -> ModuleType:
    """asyncpg. Raises: ConfigError: it is not installed."""
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError("Postgres needs the asyncpg package: pip install 'outlast[postgres]'") from error
    return asyncpg
