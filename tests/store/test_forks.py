"""Forks of a process that has a SQLite database open: what each side commits stays, and nobody hangs."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from outlast.errors import StoreUnavailable
from tests.engine.given import SOON_S
from tests.engine.workers import process
from tests.store.conftest import OpenSqlite


def fork(call: Callable[[], int] = lambda: 0) -> int:
    """What a child ends with that only calls this."""
    pid = os.fork()
    if pid == 0:
        os._exit(call())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO outlast_queues (name, paused_us) VALUES (hex(random()), 0)")


def count(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM outlast_queues").fetchone()[0]
    return found


def open_descriptors(path: Path) -> int:
    """How often this process has the file open."""
    found = path.stat()
    held = 0
    for descriptor in os.listdir("/dev/fd"):
        try:
            seen = os.fstat(int(descriptor))
        except OSError:
            continue
        held += (seen.st_dev, seen.st_ino) == (found.st_dev, found.st_ino)
    return held


TWO_SIDES = """
from outlast import sync

@job
async def double(number: int) -> int:
    return 2 * number

told, tell = os.pipe(), os.pipe()
engine = sync.Engine(URL, drain_timeout=0)
engine.start(double.new(number=1)).result(20)
pid = os.fork()
if pid == 0:
    engine.start(double.new(number=2)).result(20)
    os.write(told[1], b"x")
    os.read(tell[0], 1)
    engine.start(double.new(number=3)).result(20)
    os._exit(0)  # no closing, as if it were killed.
os.read(told[0], 1)
engine.close()
os.write(tell[1], b"x")
os.waitpid(pid, 0)
with sync.Engine(URL, drain_timeout=0) as again:
    say(again.totals())
"""


def test_what_a_forked_child_commits_stays_when_its_parent_closes(empty_sqlite_url: str) -> None:
    with process(TWO_SIDES, empty_sqlite_url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    assert out.strip() == "{'done': 3}", complaints


STORM = """
import sqlite3, threading
from outlast import sync

@job
async def nothing():
    pass

def busy():
    while not over:
        engine.start_many([nothing.new() for _ in range(20)])
        engine.totals()

over = False
engine = sync.Engine(URL, drain_timeout=0)
engine.open()
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
hung = 0
for _ in range(300):
    pid = os.fork()
    if pid == 0:
        sqlite3.connect(":memory:").execute("CREATE TABLE numbers (number)")
        os._exit(0)
    give_up_at = time.monotonic() + 20
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > give_up_at:
            hung += 1
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            break
over = True
for thread in threads:
    thread.join()
say("hung", hung)
engine.close()
"""


def test_no_child_hangs_that_was_forked_while_the_store_was_busy(empty_sqlite_url: str) -> None:
    with process(STORM, empty_sqlite_url) as one:
        out, complaints = one.popen.communicate(timeout=12 * SOON_S)

    assert out.strip() == "hung 0", complaints


async def test_a_fork_waits_until_a_thread_is_outside_of_sqlite(open_sqlite: OpenSqlite) -> None:
    store, forked, seen = await open_sqlite(), threading.Event(), []
    inside = threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        inside.set()
        seen.append(forked.wait(0.2))

    def fork_and_tell() -> None:
        inside.wait()
        fork()
        forked.set()

    await asyncio.gather(store._writer.write(hold), asyncio.to_thread(fork_and_tell))

    assert seen == [False]


async def test_a_fork_does_not_wait_for_another_process(open_sqlite: OpenSqlite, path: Path) -> None:
    """A writer that naps until it may begin is outside; it goes on with a connection that is opened anew."""
    store = await open_sqlite()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store._writer.write(insert))

        await asyncio.to_thread(fork)

        assert not waiting.done()
        other.execute("COMMIT")
    await waiting
    assert await store._reader.read(count) == 1


async def test_nothing_of_the_database_is_open_during_a_fork(open_sqlite: OpenSqlite, path: Path) -> None:
    store = await open_sqlite()
    assert open_descriptors(path) >= 2, "the writer and the reader"

    assert fork(lambda: open_descriptors(path)) == 0

    await store._writer.write(insert)
    assert await store._reader.read(count) == 1


async def test_what_is_in_memory_is_still_there_after_a_fork(open_sqlite: OpenSqlite) -> None:
    store = await open_sqlite("sqlite://")
    await store._writer.write(insert)

    fork()

    assert await store._reader.read(count) == 1


async def test_the_bell_still_rings_after_a_fork(open_sqlite: OpenSqlite) -> None:
    listener, other = await open_sqlite(), await open_sqlite()
    heard = asyncio.Event()
    await listener.bell.listen(lambda message: heard.set())
    async with asyncio.timeout(SOON_S):
        await heard.wait()  # the first look.

    for _ in range(3):
        fork()
        heard.clear()
        await other._writer.write(insert)
        async with asyncio.timeout(SOON_S):
            await heard.wait()


async def test_a_file_that_goes_away_around_a_fork_is_not_made_again(open_sqlite: OpenSqlite, path: Path) -> None:
    store = await open_sqlite()
    fork()
    path.unlink()

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store._writer.write(insert)

    assert not path.exists()


OTHERS = """
import sqlite3
from outlast import sync
from outlast.errors import EngineStateError

path = URL.removeprefix("sqlite:///")
with sync.Engine(URL, queues={}) as engine:
    mine = sqlite3.connect(path)
    pid = os.fork()
    if pid == 0:
        try:
            sync.Engine(URL, queues={}).open()
        except EngineStateError as error:
            say(error)
        os._exit(0)
    os.waitpid(pid, 0)
    mine.close()
    pid = os.fork()
    if pid == 0:
        say(sync.Engine(URL, queues={}).totals())
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_a_child_refuses_a_file_that_somebody_else_had_open(empty_sqlite_url: str) -> None:
    with process(OTHERS, empty_sqlite_url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    refused, opened = out.splitlines()
    assert "was open when this process was forked, by a connection that is not the engine's" in refused, complaints
    assert opened == "{}"


LOCKED = """
import threading
from outlast import sync

engine = sync.Engine(URL, queues={})
inside, over = threading.Event(), threading.Event()

def hold():
    with engine._lock:  # as a thread has it that opens the engine.
        inside.set()
        over.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
pid = os.fork()
if pid == 0:
    say(engine.totals())
    os._exit(0)
os.waitpid(pid, 0)
over.set()
thread.join()
"""


def test_a_child_does_not_wait_for_a_thread_that_it_does_not_have(empty_sqlite_url: str) -> None:
    with process(LOCKED, empty_sqlite_url) as one:
        out, complaints = one.popen.communicate(timeout=3 * SOON_S)

    assert out.strip() == "{}", complaints
