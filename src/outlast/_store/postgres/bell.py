"""Hints between processes, by NOTIFY. They may be lost, doubled or late: polling is always on.

A commit that notifies takes a lock that the whole server shares, so hints never ride on the engine's own commits: they
gather while one NOTIFY is on its way, and go out together over a connection of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final

from outlast._store.postgres.links import Links, disconnect
from outlast._store.statements import Statement
from outlast._world import World

log = logging.getLogger("outlast")

PAYLOAD_BYTES_MAX: Final = 7_900
"""Postgres takes less than 8,000."""
PING_S: Final = 15.0
"""Seconds between signs of life to ourselves."""
_GAP_S: Final = 0.002
_CALL_S: Final = 10.0
_ECHO_S: Final = 5.0
_LONGEST_S: Final = 5.0
_STEADY_S: Final = 1.0


class Bell:
    """See `contract.Bell`. One task owns the connection; it lives from the first use until `close`.

    Args:
        channel: The schema's name; nodes of another schema hear nothing of ours.
        remote: Whether to connect at all.
    """

    def __init__(self, links: Links, ring: Statement, channel: str, world: World, *, remote: bool) -> None:
        self._links = links
        self._ring = ring.numbered
        self._channel = channel
        self._world = world
        self._remote = remote
        self._sender = ""
        self._messages: dict[str, None] = {}
        self._heard: Callable[[str], None] | None = None
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._echo = asyncio.Event()
        self._closed = False

    async def listen(self, heard: Callable[[str], None]) -> None:
        """Returns when it hears, or when the first try has failed; it then goes on trying by itself."""
        self._heard = heard
        if self._remote and not self._closed:
            self._tried.clear()
            self._start()
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CALL_S):
                    await self._tried.wait()

    def ring(self, message: str) -> None:
        if self._remote and not self._closed:
            self._messages[message] = None
            if len(self._messages) == 1:
                self._start()
                self._wake.set()

    def _start(self) -> None:
        if self._task is None:
            self._sender = self._world.new_node_id()  # not before: a store may be made, and its process forked then.
            self._task = asyncio.get_running_loop().create_task(self._serve(), name="outlast-bell")

    async def close(self) -> None:
        """Sends what was rung, briefly, and disconnects. Never raises."""
        self._closed = True
        if self._task is not None:
            self._wake.set()
            self._closing.set()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._task, timeout=1.0)

    async def _serve(self) -> None:
        """Connects and serves, for ever again: 50 ms to 5 s apart, with jitter."""
        failures = 0
        while not self._closed:
            began = self._world.monotonic()
            try:
                await self._serve_once()
            except Exception as error:
                if self._world.monotonic() - began > _STEADY_S:
                    failures = 0
                log.debug("the doorbell lost its connection: %s: %s", type(error).__name__, error)
            self._tried.set()
            failures += 1
            if not self._closed:
                wait_s = min(_LONGEST_S, 0.05 * 2 ** min(failures, 10)) * (0.25 + 0.75 * self._world.dice.random())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._closing.wait()

    async def _serve_once(self) -> None:
        # A NOTIFY commits a transaction that nothing depends on: it need not wait for the disk.
        connection = await self._links.connect("bell", timeout_s=_CALL_S, synchronous_commit="off")
        try:
            connection.add_termination_listener(self._gone)
            listening = False
            while not self._closed:
                if self._heard is not None and not listening:
                    await connection.add_listener(self._channel, self._notified)
                    listening = True
                    self._heard("*")  # whatever was rung before this moment was not heard.
                self._tried.set()
                await self._send(connection)
                await self._rest(connection, listening=listening)
            await self._send(connection)
        finally:
            await disconnect(connection)

    async def _send(self, connection: Any) -> None:
        while self._messages:
            messages, self._messages = self._messages, {}
            try:
                await connection.execute(self._ring, self._channel, payload(self._sender, messages))
            except BaseException:
                self._messages["*"] = None  # what they were does not matter by the time we are connected again.
                raise
            if not self._closed:
                await asyncio.sleep(_GAP_S)

    async def _rest(self, connection: Any, *, listening: bool) -> None:
        """Until something is rung, the connection is lost, or it is time for a ping."""
        try:
            async with asyncio.timeout(PING_S):
                await self._wake.wait()
                self._wake.clear()
        except TimeoutError:
            await self._ping(connection, listening=listening)
        if connection.is_closed():
            raise ConnectionError("the connection was closed")

    async def _ping(self, connection: Any, *, listening: bool) -> None:
        """Rings ourselves: nothing else would tell that the other end is gone, or that nobody listens for us there."""
        self._echo.clear()
        await connection.execute(self._ring, self._channel, payload(self._sender, ()))
        if not listening:
            return
        try:
            async with asyncio.timeout(_ECHO_S):
                await self._echo.wait()
        except TimeoutError:
            log.warning(
                "the doorbell does not hear itself, so work waits for polling; "
                'behind a transaction pooler, set pooler="transaction" or doorbell="local"'
            )
            raise ConnectionError("own pings are not heard") from None

    def _gone(self, connection: Any) -> None:
        self._wake.set()

    def _notified(self, connection: Any, pid: int, channel: str, text: object) -> None:
        sender, _, messages = str(text).partition(" ")
        if sender == self._sender:
            self._echo.set()
        elif self._heard is not None and messages:
            for message in messages.split("\n"):
                self._heard(message)


def payload(sender: str, messages: Any) -> str:
    """One NOTIFY's text: who rings, and the messages by line; a mere "*" when they are too long."""
    text = f"{sender} " + "\n".join(messages)
    return text if len(text.encode()) <= PAYLOAD_BYTES_MAX else f"{sender} *"
