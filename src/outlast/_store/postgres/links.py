"""Connections to Postgres: two small pools, and single ones for the bell and the renewer.

No transaction of the engine's work ever spans two round trips, so a connection is held for one statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast._store.postgres.address import Address
from outlast._store.postgres.faults import is_in_the_way, translated
from outlast._world import World, process_id
from outlast.config import Config
from outlast.errors import ConfigError, EngineStateError, StoreUnavailable

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

LANE_MAX: Final = 3
"""Connections of each pool at most."""
TRIES_MAX: Final = 8
"""Times that a statement is tried when another transaction is in the way."""
_CLOSE_S: Final = 5.0
_LATE_S: Final = 5.0
"""Seconds after `statement_timeout`, which the server keeps, until the client gives a connection up for lost."""


class Links:
    """How to connect, and the two pools.

    Attributes:
        engine: For the engine's own loops: claims, commits, leases, due times.
        client: For what callers do, so that a flood of them cannot keep the engine waiting.
    """

    def __init__(self, config: Config, address: Address, world: World) -> None:
        self._config = config
        self._address = address
        self.engine = Lane(self, "engine", world)
        self.client = Lane(self, "client", world)

    @property
    def acquire_s(self) -> float:
        """Seconds to wait for a free connection: as long as the statement before may take, and a new connection."""
        return self._config.statement_timeout + self.connect_s

    @property
    def connect_s(self) -> float:
        """Seconds that connecting may take."""
        return self._address.connect_timeout_s or self._config.connect_timeout

    async def connect(self, role: str, *, timeout_s: float | None = None, **settings: str) -> asyncpg.Connection[Any]:
        """A connection of its own.

        Args:
            role: What the server's list of sessions calls it.
            timeout_s: Seconds for connecting and for each statement; None: as configured.
            settings: More of the server's settings for this session; not behind a transaction pooler.

        Raises: StoreError, ConfigError.
        """
        options = self.options(role, settings)
        if timeout_s is not None:
            options.update(timeout=timeout_s, command_timeout=timeout_s)
        connect = driver().connect
        try:
            connection: asyncpg.Connection[Any] = await connect(**options)
            return connection
        except Exception as error:
            raise self.explained(error) from error

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
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
            "statement_timeout": str(timeout_ms),
            "lock_timeout": str(max(1, timeout_ms // 3)),
            "idle_in_transaction_session_timeout": str(timeout_ms),
            **settings,
        }
        if not address.names_itself:
            server_settings["application_name"] = f"outlast {config.name}"[:50] + f" {role}"
        return {**options, "server_settings": server_settings}

    def explained(self, error: BaseException) -> BaseException:
        """An error of connecting, as ours; it names the address."""
        made = translated(error)
        if isinstance(made, StoreUnavailable):
            made = StoreUnavailable(f"{made} ({self._address.shown})")
            made.__cause__ = error
        return made

    async def close(self) -> None:
        """Ends the pools; what is being written is finished first, unless it takes long."""
        await asyncio.gather(self.engine.close(), self.client.close())


class Lane:
    """A pool, connected when it is first used, and statements on it."""

    def __init__(self, links: Links, role: str, world: World) -> None:
        self._links = links
        self._role = role
        self._world = world
        self._pool: asyncpg.Pool[Any] | None = None
        self._writing: set[asyncio.Task[Any]] = set()
        self._pid = process_id()
        self._closed = False

    async def read(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement that writes nothing. When the caller is cancelled, so is the statement."""

        async def fetch(connection: Any) -> list[Any]:
            rows: list[Any] = await connection.fetch(text, *values)
            return rows

        return await self._tried(fetch, self._finish)

    async def write(self, text: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement that writes. Once begun it is finished, also when the caller is cancelled."""

        async def fetch(connection: Any) -> list[Any]:
            rows: list[Any] = await connection.fetch(text, *values)
            return rows

        return await self._tried(fetch, self._finish_whole)

    async def count(self, text: str, values: Sequence[Any]) -> int:
        """As `write`, for a statement without rows: how many rows of the table it changed."""

        async def execute(connection: Any) -> int:
            tag: str = await connection.execute(text, *values)
            return int(tag[tag.rindex(" ") :])

        return await self._tried(execute, self._finish_whole)

    async def _tried(
        self, call: Callable[[Any], Awaitable[T]], finish: Callable[[Any, Callable[[Any], Awaitable[T]]], Awaitable[T]]
    ) -> T:
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

    async def _acquire(self) -> Any:
        if self._closed:
            raise StoreUnavailable("the Postgres store is closed")
        if process_id() != self._pid:
            raise EngineStateError(
                "this process was forked after the engine was started; open a new engine in the child"
            )
        pool = self._pool or await self._made()
        try:
            async with asyncio.timeout(self._links.acquire_s):
                return await pool.acquire()
        except Exception as error:
            raise self._links.explained(error) from error

    async def _made(self) -> asyncpg.Pool[Any]:
        pool: asyncpg.Pool[Any] = driver().create_pool(
            min_size=0,
            max_size=LANE_MAX,
            max_queries=math.inf,
            max_inactive_connection_lifetime=0,
            reset=_nothing_to_reset,
            **self._links.options(self._role, {}),
        )
        await pool  # it begins without a connection, so this never waits, and two callers cannot both be here.
        self._pool = pool
        return pool

    async def _finish(self, connection: Any, call: Callable[[Any], Awaitable[T]]) -> T:
        """Runs the call and gives the connection back."""
        try:
            return await call(connection)
        except TimeoutError:
            connection.terminate()  # the server should have given up long before us: nobody is there.
            raise
        finally:
            if self._pool is not None:
                await self._pool.release(connection)

    async def _finish_whole(self, connection: Any, call: Callable[[Any], Awaitable[T]]) -> T:
        """The same in a task of ours, which the caller's cancellation does not reach."""
        task = asyncio.get_running_loop().create_task(self._finish(connection, call))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finishes what is being written, then disconnects. Never raises."""
        self._closed = True
        if self._pool is None or process_id() != self._pid:
            return
        if self._writing:
            await asyncio.wait(self._writing, timeout=_CLOSE_S)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                await self._pool.close()
        # Either all is closed and this does nothing, or it cuts what hangs, and the writers end with an error.
        with contextlib.suppress(Exception):
            self._pool.terminate()
        await asyncio.gather(*self._writing, return_exceptions=True)


def driver() -> ModuleType:
    """asyncpg. Raises: ConfigError: it is not installed."""
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError("Postgres needs the asyncpg package: pip install 'outlast[postgres]'") from error
    return asyncpg


async def _nothing_to_reset(connection: Any) -> None:
    """Our statements leave nothing behind in a session; asking the server to reset it would cost a round trip."""
