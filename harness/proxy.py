"""A network between clients and a Postgres server, for tests: it can be cut, be silent, or be slow.

It runs on a thread with an event loop of its own; its methods may be called from any other thread.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from harness.wire import Frames, Question, Talk, is_request, parameters

_CHUNK_BYTES = 65_536
_READY = b"Z"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What to do with one answer, or one question, of a marked statement.

    Attributes:
        kept: So many of its bytes are passed on, and nothing after them; at most all of them.
        answer: It is the server's answer, which has then done its work; else the client's question.
        silent: Afterwards the connection is half open, and says nothing; else it is reset.
    """

    kept: int
    answer: bool = True
    silent: bool = False


Decide = Callable[[str, "Link", int, bool], Cut | None]
"""From label, connection, length in bytes, and whether it is an answer, to what is done with it."""


@dataclass(eq=False)
class Link:
    """One connection.

    Attributes:
        name: Its `application_name`.
        silent_since: When it fell silent, on the monotonic clock; None: it has not.
        given_up_at: When the client closed it after that.
    """

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    name: str = ""
    silent_since: float | None = None
    given_up_at: float | None = None
    is_cut: bool = False
    questions: list[Question] = field(default_factory=list)
    answer: bytes = b""

    def reset(self) -> None:
        """Both ends are told at once."""
        self.is_cut = True
        for writer in (self.client, self.server):
            _reset(writer)

    def silence(self) -> None:
        """Nothing more comes from either end, and neither is told."""
        if self.silent_since is None:
            self.silent_since = time.monotonic()


class Proxy:
    """A way to a Postgres server.

    Args:
        port: The server's, on 127.0.0.1.
        marked: Labels by the text of the statements that `decide` is asked about.
        decide: Asked on the proxy's own thread about each whole question and answer of them.

    Attributes:
        port: Its own, on 127.0.0.1.
        links: Every connection that was ever made through it.
    """

    def __init__(self, port: int, *, marked: Mapping[str, str] | None = None, decide: Decide | None = None) -> None:
        self._server_port = port
        self._marked = marked or {}
        self._decide = decide
        self._refuses = False
        self._mute: Callable[[str], bool] | None = None
        self._bytes_per_s: float | None = None
        self._free_at = {True: 0.0, False: 0.0}
        self._unmuted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.links: list[Link] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._listening = self._call(self._listen())
        self.port: int = self._listening.sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, chosen: Callable[[str], bool] = lambda name: True) -> int:
        """Resets connections, all or those whose name is chosen. Returns how many."""

        async def cut() -> int:
            found = [link for link in self.links if not link.is_cut and chosen(link.name)]
            for link in found:
                link.reset()
            return len(found)

        count: int = self._call(cut())
        return count

    def refuse(self, refuses: bool) -> None:
        """Whether new connections are reset at once."""
        self._refuses = refuses

    def mute(self, chosen: Callable[[str], bool] | None) -> None:
        """Connections whose name is chosen pass nothing on, new ones neither, until None: then all goes on."""

        async def mute() -> None:
            self._mute = chosen
            self._unmuted.set()
            self._unmuted = asyncio.Event()

        self._call(mute())

    def slow(self, bytes_per_s: float | None) -> None:
        """All connections together pass so much on in each direction; None: as much as they can."""
        self._bytes_per_s = bytes_per_s

    def _call(self, coroutine: Any) -> Any:
        answer: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return answer.result(timeout=30)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._listening.close()
        self._refuses, self._bytes_per_s, self._mute = True, None, None
        self._unmuted.set()
        for link in self.links:
            if not link.is_cut:
                link.reset()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refuses:
            _reset(writer)
            return
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            _reset(writer)
            return
        link = Link(writer, server)
        self.links.append(link)
        await asyncio.gather(self._until_lost(self._ask(link, reader)), self._until_lost(self._answer(link, answers)))
        if not link.is_cut:
            link.reset()

    async def _until_lost(self, coroutine: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(OSError):
            await coroutine

    async def _ask(self, link: Link, reader: asyncio.StreamReader) -> None:
        """From the client to the server."""
        frames, talk = Frames(untyped=True), Talk(self._marked)
        while data := await reader.read(_CHUNK_BYTES):
            cut = None
            for kind, message in frames.feed(data):
                if not kind:
                    if is_request(message):
                        continue
                    link.name = parameters(message).get("application_name", "")
                question = talk.hear(kind, message)
                if question is not None:
                    link.questions.append(question)
                    cut = cut or self._judge(question.label, link, len(data), answer=False)
            if cut is not None:
                await self._pass(link, link.server, data[: cut.kept], up=True)
                self._end(link, cut)
                if not cut.silent:
                    return
                continue
            await self._pass(link, link.server, data, up=True)
        if link.silent_since is not None:
            link.given_up_at = time.monotonic()
        link.reset()

    async def _answer(self, link: Link, reader: asyncio.StreamReader) -> None:
        """From the server to the client. An answer of a marked statement is passed on once it is whole."""
        frames = Frames(untyped=False)
        first = True
        while data := await reader.read(_CHUNK_BYTES):
            if first and data in (b"N", b"S"):  # of a request for encryption: one byte, no message.
                await self._pass(link, link.client, data, up=False)
                continue
            first = False
            link.answer += data
            ended = [kind for kind, _ in frames.feed(data)].count(_READY)
            label = None
            for _ in range(min(ended, len(link.questions))):
                label = link.questions.pop(0).label or label
            if not ended and link.questions and link.questions[0].label is not None:
                continue
            whole, link.answer = link.answer, b""
            cut = self._judge(label, link, len(whole), answer=True)
            if cut is not None:
                await self._pass(link, link.client, whole[: cut.kept], up=False)
                self._end(link, cut)
                if not cut.silent:
                    return
                continue
            await self._pass(link, link.client, whole, up=False)
        if link.silent_since is None:
            link.reset()

    def _judge(self, label: str | None, link: Link, size: int, *, answer: bool) -> Cut | None:
        if label is None or self._decide is None or link.silent_since is not None:
            return None
        return self._decide(label, link, size, answer)

    def _end(self, link: Link, cut: Cut) -> None:
        if cut.silent:
            link.silence()
        else:
            link.reset()

    async def _pass(self, link: Link, writer: asyncio.StreamWriter, data: bytes, *, up: bool) -> None:
        while (mute := self._mute) is not None and mute(link.name):
            await self._unmuted.wait()
        if link.silent_since is not None or not data:
            return
        if (bytes_per_s := self._bytes_per_s) is not None:
            now = time.monotonic()
            self._free_at[up] = max(now, self._free_at[up]) + len(data) / bytes_per_s
            await asyncio.sleep(self._free_at[up] - now)
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection so that the other end hears of a reset, not of an orderly end."""
    if (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
