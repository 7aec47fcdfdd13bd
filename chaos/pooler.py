"""A pooler of Postgres connections, in transaction mode: each transaction of a client runs on whichever server is free.

It is small and unkind: servers take turns, so that two transactions of one client hardly ever see the same session.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_SSL_REQUEST: Final = 80_877_103
_GSS_REQUEST: Final = 80_877_104
_CANCEL_REQUEST: Final = 80_877_102
_ANSWERED: Final = b"QSF"
"""Messages of a client that the server answers with a ReadyForQuery."""


class Pooler:
    """Serves on a Unix socket in a folder.

    Args:
        folder: Of the socket.
        server: The real server's socket.
        login: User and database, for all.
        size: Connections to the server.

    Attributes:
        transactions: How many it has passed on.
        moves: How many of them ran on another server than their client's last.
    """

    def __init__(self, folder: Path, server: Path, login: dict[str, str], *, size: int) -> None:
        self.transactions = 0
        self.moves = 0
        self._path = folder / ".s.PGSQL.5432"
        self._server = server
        self._login = login
        self._size = size
        self._free: asyncio.Queue[Stream] = asyncio.Queue()
        self._welcome = b""
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Serves until it is told to stop."""
        for _ in range(self._size):
            self._free.put_nowait(await self._connect())
        listener = await asyncio.start_unix_server(self._accept, self._path)
        ready.set()
        await stop.wait()
        listener.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def _connect(self) -> Stream:
        reader, writer = await asyncio.open_unix_connection(self._server)
        text = b"".join(f"{name}\0{value}\0".encode() for name, value in self._login.items()) + b"\0"
        writer.write(struct.pack("!II", len(text) + 8, 196_608) + text)
        welcome = b""
        while True:
            kind, message = await _read(reader)
            welcome += message
            if kind == b"E":
                raise ConnectionError(message.decode(errors="replace"))
            if kind == b"Z":
                self._welcome = welcome
                return reader, writer

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                if await self._greet(reader, writer):
                    await self._serve_client(reader, writer)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            length, code = struct.unpack("!II", await reader.readexactly(8))
            await reader.readexactly(length - 8)
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                writer.write(b"N")
            elif code == _CANCEL_REQUEST:
                return False
            else:
                writer.write(self._welcome)
                return True

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last: Stream | None = None
        while True:
            kind, message = await _read(reader)
            if kind == b"X":
                return
            server = await self._free.get()
            self.transactions += 1
            self.moves += last is not None and server is not last
            last = server
            is_whole = False
            try:
                is_whole = await self._transact(kind, message, (reader, writer), server)
            finally:
                if is_whole:
                    self._free.put_nowait(server)
                else:  # the client is gone in the middle of it.
                    server[1].close()
                    with contextlib.suppress(OSError):
                        self._free.put_nowait(await self._connect())
            if not is_whole:
                return

    async def _transact(self, kind: bytes, message: bytes, client: Stream, server: Stream) -> bool:
        """One transaction, of which this is the first message. Whether it came to its end."""
        owed = 0
        hearing = asyncio.ensure_future(_read(client[0]))
        telling = asyncio.ensure_future(_read(server[0]))
        try:
            server[1].write(message)
            owed += kind in _ANSWERED
            while True:
                await asyncio.wait({hearing, telling}, return_when=asyncio.FIRST_COMPLETED)
                if telling.done():
                    said, answer = telling.result()
                    client[1].write(answer)
                    if said == b"Z":
                        owed -= 1
                        if owed == 0 and answer[5:6] == b"I" and not hearing.done():
                            return await _unread(hearing, client[0])
                    telling = asyncio.ensure_future(_read(server[0]))
                if hearing.done():
                    kind, message = hearing.result()
                    if kind == b"X":
                        return False
                    owed += kind in _ANSWERED
                    server[1].write(message)
                    hearing = asyncio.ensure_future(_read(client[0]))
        finally:
            hearing.cancel()
            telling.cancel()


async def _unread(hearing: asyncio.Future[tuple[bytes, bytes]], reader: asyncio.StreamReader) -> bool:
    """Stops waiting for the client's next message. True, as none of it has come; what has come is never lost."""
    hearing.cancel()
    await asyncio.wait({hearing})
    return True


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One message: its kind, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


@contextmanager
def pooled(folder: Path, url: str, *, size: int = 6) -> Iterator[tuple[Pooler, str]]:
    """A pooler before the server of this address, which names a Unix socket. Gives it, and the address through it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    server = Path(query["host"][0]) / f".s.PGSQL.{query.get('port', ['5432'])[0]}"
    login = {"user": parts.username or "", "database": parts.path[1:]}
    pooler = Pooler(folder, server, login, size=size)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(pooler.serve(ready, stop)), name="pooler")
    thread.start()
    try:
        if not ready.wait(30.0):
            raise RuntimeError("the pooler did not start")
        yield pooler, f"postgresql://{parts.username}@{parts.path}?host={folder}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30.0)
        loop.close()
