"""Operations of the store, one statement at a time: each statement waits for the driver's permission.

A statement that waits for a lock is seen from a third connection; its actor is blocked, and another one goes on. BEGIN
needs no permission: under READ COMMITTED it takes no snapshot and no lock, and the clock is pinned.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg

from outlast._store.postgres.store import PostgresStore

T = TypeVar("T")
Operation = Callable[["Actor"], Awaitable[Any]]
Choose = Callable[[Sequence[int]], int]

_PROBE_S = 0.001
"""Seconds that a statement may take before somebody looks whether it is blocked."""
_STUCK_S = 20.0
"""Seconds after which nobody has moved: the driver has lost its way."""
DEADLOCK = "40P01"
_GLUED = frozenset({"forget_journal", "forget_logs", "forget_acts", "forget_tags"})
"""Statements that run with the one before them: they touch what belongs to an instance that was locked long before."""


class Move(NamedTuple):
    """A statement that an actor was allowed to run, and whether it had to wait for another's lock."""

    actor: int
    statement: str
    blocked: bool

    def __str__(self) -> str:
        return f"{'ABC'[self.actor]}:{self.statement}{' (waits)' if self.blocked else ''}"


class Play(NamedTuple):
    """What became of operations in one order of their statements.

    Attributes:
        moves: The statements in their order.
        choices: Which of how many actors was chosen at each place.
        results: What each operation returned, or the error that it raised.
        codes: SQLSTATEs of the statements that failed.
    """

    moves: list[Move]
    choices: list[tuple[int, int]]
    results: list[Any]
    codes: list[str]

    @property
    def was_blocked(self) -> bool:
        """Whether one waited for another."""
        return any(move.blocked for move in self.moves)


class Actor:
    """Somebody with a store, and so with connections, of their own.

    Attributes:
        number: The place among actors.
        node: The node that they speak for.
        store: Their store.
        at: The statement that waits for permission, or None.
        pid: The server's process in which their statement runs, or None.
        blocked: Whether that one waits for a lock.
        ended: Whether the operation has come to its end.
        result: What it returned or raised.
        codes: SQLSTATEs of the statements that failed.
    """

    def __init__(self, number: int, node: str, store: PostgresStore) -> None:
        self.number = number
        self.node = node
        self.store = store
        self.stepped = False
        self._names = {statement.numbered: name for name, statement in self.sql.items()}
        links: Any = store._links
        self._connect = links.connect
        links.connect = self._connect_gated
        self._rest()

    @property
    def sql(self) -> dict[str, Any]:
        """The statements of this actor's store, by name."""
        found: dict[str, Any] = self.store.claims._desk.sql  # type: ignore[assignment]
        return found

    def renamed(self) -> None:
        """The statements have changed: how they are called in the reports is learned anew."""
        self._names = {statement.numbered: name for name, statement in self.sql.items()}

    def _rest(self) -> None:
        self.at: str | None = None
        self.pid: int | None = None
        self.blocked = False
        self.ended = False
        self.result: Any = None
        self.codes: list[str] = []
        self._stood = asyncio.Event()
        self._go: asyncio.Future[None] | None = None

    def begin(self, operation: Operation) -> "asyncio.Task[None]":
        """Starts an operation, which comes as far as its first statement."""
        self._rest()
        self.stepped = True
        return asyncio.get_running_loop().create_task(self._run(operation))

    async def _run(self, operation: Operation) -> None:
        try:
            self.result = await operation(self)
        except Exception as error:
            self.result = error
        self.ended, self.stepped = True, False
        self._stood.set()

    def allow(self) -> None:
        """Lets the statement at the gate run."""
        assert self._go is not None
        self._stood.clear()
        self.at = None
        self._go.set_result(None)

    async def stands(self, timeout_s: float) -> bool:
        """Whether the actor, within so many seconds, waits for permission or has ended."""
        if not self._stood.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._stood.wait()
            except TimeoutError:
                return False
        return True

    async def step(self, connection: Any, text: str, call: Callable[[], Awaitable[T]]) -> T:
        """Runs a statement when it is allowed to."""
        if not self.stepped:
            return await call()
        name = self._names.get(text, text)
        if name in _GLUED:
            return await self._run_statement(connection, call)
        self.at = name
        self._go = asyncio.get_running_loop().create_future()
        self._stood.set()
        await self._go
        return await self._run_statement(connection, call)

    async def _run_statement(self, connection: Any, call: Callable[[], Awaitable[T]]) -> T:
        self.pid = connection.get_server_pid()
        try:
            return await call()
        except asyncpg.PostgresError as error:
            self.codes.append(error.sqlstate or "")
            raise
        finally:
            self.pid = None

    async def _connect_gated(self, *values: Any, **options: Any) -> "Gated":
        return Gated(await self._connect(*values, **options), self)


class Gated:
    """A connection whose statements wait for permission."""

    def __init__(self, connection: Any, actor: Actor) -> None:
        self._connection = connection
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, text: str, *values: Any) -> Any:
        """As asyncpg's."""
        return await self._actor.step(self._connection, text, lambda: self._connection.fetch(text, *values))

    async def execute(self, text: str, *values: Any) -> Any:
        """As asyncpg's."""
        return await self._actor.step(self._connection, text, lambda: self._connection.execute(text, *values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """As asyncpg's."""
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            yield
        except BaseException:
            await self._actor.step(self._connection, "ROLLBACK", transaction.rollback)
            raise
        await self._actor.step(self._connection, "COMMIT", transaction.commit)


class Driver:
    """Chooses who goes on.

    Args:
        watcher: A connection that looks at the others.
    """

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher

    async def play(self, actors: Sequence[Actor], operations: Sequence[Operation], choose: Choose) -> Play:
        """Runs one operation of each actor, a statement at a time; `choose` says whose is next, of those who can."""
        play = Play([], [], [], [])
        tasks = [actor.begin(operation) for actor, operation in zip(actors, operations, strict=True)]
        for actor in actors:
            await self._settle(actor)
        while not all(actor.ended for actor in actors):
            enabled = [place for place, actor in enumerate(actors) if actor.at is not None]
            if not enabled:
                await self._await_help(actors)
                continue
            place = choose(enabled)
            play.choices.append((enabled.index(place), len(enabled)))
            actor = actors[place]
            statement = actor.at or ""
            actor.allow()
            await self._settle(actor)
            play.moves.append(Move(place, statement, actor.blocked))
            await self._settle_blocked(actors)
        await asyncio.gather(*tasks)
        play.results.extend(actor.result for actor in actors)
        play.codes.extend(code for actor in actors for code in actor.codes)
        return play

    async def _settle(self, actor: Actor) -> None:
        """Waits until the actor's statement has ended, and the next one waits for permission; or it is blocked."""
        actor.blocked = False
        async with asyncio.timeout(_STUCK_S):
            while not await actor.stands(_PROBE_S):
                if actor.pid is not None and await self._waits(actor.pid):
                    actor.blocked = True
                    return

    async def _settle_blocked(self, actors: Sequence[Actor]) -> None:
        """Looks again at those who were blocked: what others did may have freed them, and they others."""
        moved = True
        while moved:
            moved = False
            for actor in actors:
                if not actor.blocked or (actor.pid is not None and await self._waits(actor.pid)):
                    continue
                await self._settle(actor)
                moved = moved or not actor.blocked

    async def _await_help(self, actors: Sequence[Actor]) -> None:
        """Everybody waits for somebody: the server will end one of them."""
        async with asyncio.timeout(_STUCK_S):
            while all(actor.blocked or actor.ended for actor in actors) and not all(actor.ended for actor in actors):
                await asyncio.sleep(_PROBE_S)
                await self._settle_blocked(actors)

    async def _waits(self, pid: int) -> bool:
        return bool(await self._watcher.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))
