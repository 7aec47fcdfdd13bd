"""One thread, one connection: every write of this process goes through here.

Callers hand in functions that take the connection. The thread runs many of them inside one transaction, so
that they share one commit; when one fails, the transaction is rolled back and each runs alone. A function must
therefore be safe to run again: it may only talk to the connection.

Two writing connections in one process would be slower, and unsafe with SQLite before 3.51.3 (the WAL-reset bug).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from outlast._store.sqlite.faults import is_busy, translated
from outlast._store.sqlite.files import identity, log_of
from outlast._store.sqlite.link import Link
from outlast._world import World, process_id
from outlast.errors import EngineStateError, StoreError, StoreUnavailable

GROUP_MAX: Final = 64
"""Functions that share one transaction at most."""
WAL_BYTES_MAX: Final = 16 * 1024 * 1024
"""The write-ahead log is folded back into the file above this size; when that fails, after each quarter of it again."""
WATCH_S: Final = 0.004
"""How often an idle writer looks whether another process has committed."""
LIVELY_S: Final = 0.25
"""For so long after something went on, it looks five times as often."""

Call = Callable[[sqlite3.Connection], Any]
T = TypeVar("T")


class _Work(NamedTuple):
    call: Call
    probe: Call | None
    writes: bool
    loop: asyncio.AbstractEventLoop | None
    future: Any


class Writer:
    """The thread and its queue.

    Args:
        connect: Makes the connection, on the thread; again after this process has forked.
        path: The database file; None for one in memory.
        world: For the clock.
        busy_s: Seconds to wait for another process's transaction.
        label: What the thread is called.
        checkpoints: Whether this thread folds the log back into the file; exactly one in a process does.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        path: Path | None,
        world: World,
        busy_s: float,
        label: str,
        checkpoints: bool = True,
    ) -> None:
        self._connect = connect
        self._link = Link(in_memory=path is None, last=checkpoints)
        self._path = path
        self._wal = Path() if path is None else log_of(path)
        self._folds = checkpoints and path is not None
        self._files: dict[Path, tuple[int, int] | None] = {}
        self._fold_above_bytes = 0
        self._world = world
        self._busy_s = busy_s
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._nap = threading.Event()
        self._heard: Callable[[], None] | None = None
        self._data_version = -1
        self._watched_at = 0.0
        self._lively_at = 0.0
        self._opened: ThreadFuture[None] = ThreadFuture()
        self._ended: ThreadFuture[None] = ThreadFuture()
        self._label = label
        self._pid = 0
        self._started = False
        self._closed = False
        self._gone = False

    @property
    def started(self) -> bool:
        """Whether `open` was called."""
        return self._started

    async def open(self) -> None:
        """Starts the thread and connects. Raises: StoreError."""
        self._started, self._pid = True, process_id()
        self._thread = threading.Thread(target=self._run, name=f"outlast-{self._label}", daemon=True)
        self._thread.start()
        # Shielded: a caller who is cancelled must not cancel what the thread is about to answer.
        await asyncio.shield(asyncio.wrap_future(self._opened))

    def watch(self, heard: Callable[[], None]) -> None:
        """Calls `heard`, on the writer's thread, after other connections have committed."""
        self._heard = heard
        # The thread may be waiting without a limit: this makes it look up.
        self._put(_Work(lambda connection: None, None, False, None, ThreadFuture()))

    async def write(self, call: Call, *, probe: Call | None = None) -> Any:
        """Runs `call(connection)` in a transaction, shared with others, and returns what it returned, committed.

        Args:
            call: The writes.
            probe: Asked first, outside the transaction; a false answer is returned in place of the call.
        """
        return await self._submit(call, probe, writes=True)

    async def read(self, call: Call) -> Any:
        """Runs `call(connection)` outside a transaction."""
        return await self._submit(call, None, writes=False)

    def write_blocking(self, call: Call) -> Any:
        """As `write`, for a thread that is not an event loop's."""
        self._check()
        future: ThreadFuture[Any] = ThreadFuture()
        self._put(_Work(call, None, True, None, future))
        return future.result()

    def _submit(self, call: Call, probe: Call | None, *, writes: bool) -> asyncio.Future[Any]:
        self._check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._put(_Work(call, probe, writes, loop, future))
        return future

    def _put(self, work: _Work) -> None:
        self._queue.put(work)
        if self._gone:  # The thread has emptied the queue for the last time: what came later answers itself.
            self._refuse_rest()

    def _check(self) -> None:
        if not self._started:
            raise EngineStateError("the SQLite store is not open")
        if self._closed:
            raise StoreUnavailable("the SQLite store is closed")
        if process_id() != self._pid:
            raise EngineStateError(
                "this process was forked after the engine was started; open a new engine in the child"
            )

    async def close(self) -> None:
        """Finishes what is queued, folds the log back, closes the connection and ends the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._started and process_id() == self._pid:
            await asyncio.shield(asyncio.wrap_future(self._ended))
            self._thread.join()  # That was its last line: this does not wait.

    def _run(self) -> None:
        try:
            with self._link:
                self._patiently(lambda connection: None)
        except BaseException as error:
            self._refuse_rest()
            self._opened.set_exception(translated(error))
            self._ended.set_result(None)
            return
        self._opened.set_result(None)
        try:
            self._serve()
        finally:
            with self._link:
                self._link.close()  # SQLite folds the log back itself when the last connection closes.
            self._refuse_rest()
            self._ended.set_result(None)

    def _serve(self) -> None:
        take = self._queue.get
        while True:
            try:
                work = take(timeout=self._watch_s()) if self._heard is not None else take()
            except queue.Empty:
                self._look()
                continue
            group: list[_Work] = []
            while work is not None:
                group.append(work)
                if len(group) >= GROUP_MAX:
                    break
                try:
                    work = self._queue.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._lively_at = self._world.monotonic()
                with self._link:
                    answers = self._answers(group)
                self._deliver(answers)
                self._fold_when_large()
            if work is None:
                return
            if self._heard is not None and self._world.monotonic() - self._watched_at > WATCH_S:
                self._look()

    def _watch_s(self) -> float:
        """Seconds until the next look at the change counter: few while something goes on, more when nothing does."""
        lively = self._world.monotonic() - self._lively_at < LIVELY_S
        return WATCH_S / 5 if lively else WATCH_S

    def _see_files(self) -> None:
        """Raises: StoreUnavailable: the database, or its write-ahead log, is not the file that was opened.

        SQLite would go on with what is still its own to read and write, and nobody else's: others would never see it.
        """
        for path, file in self._files.items():
            if identity(path) != file:
                raise StoreUnavailable(
                    f"the database file was removed or replaced while it was open: {path}; put it back, or restart"
                )

    def _current(self) -> sqlite3.Connection:
        """The connection, opened again when a fork has closed it."""
        if self._link.connection is None:
            self._files.pop(self._wal, None)  # With its last connection, the log goes.
            self._see_files()  # SQLite would make another database.
            self._link.connection = self._connect()
            self._data_version = -1  # Each connection counts for itself.
            if self._path is not None:
                self._wal = log_of(self._path)
                self._files = {path: identity(path) for path in (self._path, self._wal)}
        return self._link.connection

    def _answers(self, group: list[_Work]) -> list[tuple[_Work, Any, Any]]:
        try:
            if self._link.connection is not None:
                self._see_files()
        except StoreUnavailable as gone:
            return [(work, None, gone) for work in group]
        answers: list[tuple[_Work, Any, Any]] = []
        writes: list[_Work] = []
        for work in group:
            try:
                look = work.probe if work.writes else work.call
                seen = None if look is None else self._patiently(look)
                if work.writes and (seen or look is None):
                    writes.append(work)
                else:
                    answers.append((work, seen, None))
            except BaseException as error:
                answers.append((work, None, translated(error)))
        if writes:
            answers += self._seen(self._transact(writes))
        return answers

    def _seen(self, answers: list[tuple[_Work, Any, Any]]) -> list[tuple[_Work, Any, Any]]:
        """What was written, unless it went to a file that was taken away meanwhile: that is no commit."""
        try:
            self._see_files()
        except StoreUnavailable as gone:
            return [(work, None, gone) for work, _, _ in answers]
        return answers

    def _transact(self, group: list[_Work]) -> list[tuple[_Work, Any, Any]]:
        """One transaction for the whole group; each alone when that fails."""
        try:
            connection: sqlite3.Connection = self._patiently(_begin)
        except BaseException as error:  # Each alone would only wait as long again.
            return [(work, None, translated(error)) for work in group]
        try:
            answers = [(work, work.call(connection), None) for work in group]
            connection.execute("COMMIT")
        except BaseException as error:
            # SQLite may have rolled back by itself, when the disk is full for one.
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            if len(group) == 1:
                return [(group[0], None, translated(error))]
            return [answer for work in group for answer in self._transact([work])]
        return answers

    def _patiently(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Calls, again and again while another process is in the way, up to `busy_s` seconds.

        SQLite's own busy handler waits up to 100 ms between tries; short random naps are fairer. A fork need not wait
        for them: the connection may be another at the next try.
        """
        give_up_at = self._world.monotonic() + self._busy_s
        while True:
            try:
                return call(self._current())
            except sqlite3.OperationalError as error:
                if not is_busy(error) or self._world.monotonic() > give_up_at:
                    raise
            with self._link.left():
                self._nap.wait(0.0002 + 0.0015 * self._world.dice.random())

    def _fold_when_large(self) -> None:
        try:
            size = self._wal.stat().st_size if self._folds else 0
        except OSError:
            return
        if size <= WAL_BYTES_MAX:
            self._fold_above_bytes = 0  # also when another process has folded it, after vain tries of ours.
        elif size > self._fold_above_bytes:
            # Where it fails somebody elsewhere reads, or writes: a matter of moments, or of hours.
            self._fold_above_bytes = 0 if self._fold() else size + WAL_BYTES_MAX // 4

    def _fold(self) -> bool:
        """Checkpoints, never waiting; only ever from this connection. False: somebody was in the way."""
        try:
            with self._link:
                busy = self._current().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except (sqlite3.Error, StoreError):
            return False  # What is committed stays so; the next write says what is wrong, to somebody who can be told.
        return not busy

    def _look(self) -> None:
        self._watched_at = self._world.monotonic()
        try:
            with self._link:
                version = self._current().execute("PRAGMA data_version").fetchone()[0]
        except (sqlite3.Error, StoreError):
            return  # The next write says what is wrong, to somebody who can be told.
        if version != self._data_version:
            self._data_version = version
            self._lively_at = self._watched_at
            if self._heard is not None:
                self._heard()

    def _deliver(self, answers: list[tuple[_Work, Any, Any]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Work, Any, Any]]] = {}
        for answer in answers:
            work, value, error = answer
            if work.loop is not None:
                by_loop.setdefault(work.loop, []).append(answer)
            elif error is not None:
                work.future.set_exception(error)
            else:
                work.future.set_result(value)
        for loop, mine in by_loop.items():
            with contextlib.suppress(RuntimeError):  # The loop was closed: nobody is left to hear it.
                loop.call_soon_threadsafe(_settle_futures, mine)

    def _refuse_rest(self) -> None:
        self._closed = self._gone = True
        gone = StoreUnavailable("the SQLite store is closed")
        with contextlib.suppress(queue.Empty):
            while True:
                work = self._queue.get_nowait()
                if work is not None:
                    self._deliver([(work, None, gone)])


def _begin(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("BEGIN IMMEDIATE")
    return connection


def _settle_futures(answers: list[tuple[_Work, Any, Any]]) -> None:
    for work, value, error in answers:
        if work.future.done():
            continue
        if error is not None:
            work.future.set_exception(error)
        else:
            work.future.set_result(value)
