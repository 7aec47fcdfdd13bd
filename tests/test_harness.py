"""The harness is what other tests believe in, so it is tested itself."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import psycopg
import pytest

from chaos.zygote import Zygote
from harness import processes
from harness.databases import Databases, without_password
from harness.freezing import freeze, keeps_others_out
from harness.postgres import PostgresServer
from harness.waiting import eventually, eventually_async


@pytest.fixture
def own_server(own_postgres: None) -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    with PostgresServer(durable=False) as server:
        yield server


def test_a_killed_server_restarts_with_what_was_committed(own_server: PostgresServer) -> None:
    with psycopg.connect(own_server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        children = [child.pid for child in processes.children(own_server.pid)]

        own_server.kill_postmaster()

        assert not [pid for pid in children if processes.is_alive(pid)]
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    own_server.restart()

    with psycopg.connect(own_server.tcp_url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE numbers (number)")
print("ready", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO numbers VALUES (1)")
    time.sleep(0.005)
    connection.execute("COMMIT")
    time.sleep(0.001)
"""


def test_a_process_is_not_frozen_while_it_keeps_others_from_writing(tmp_path: Path) -> None:
    file = tmp_path / "numbers.db"
    script = [sys.executable, "-c", WRITER, str(file)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            for _ in range(20):
                freeze(writer.pid, file)
                with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
                    other.execute("INSERT INTO numbers VALUES (2)")
                processes.kill(writer.pid, signal.SIGCONT)
        finally:
            writer.kill()


def test_a_process_whose_number_was_another_ones_has_not_ended() -> None:
    reading, writing = os.pipe()
    zygote = object.__new__(Zygote)
    zygote._said, zygote._pids, zygote._ended = b"", [], {}
    with os.fdopen(reading, "rb") as said, os.fdopen(writing, "wb", buffering=0) as out:
        zygote._process = SimpleNamespace(stdout=said)  # type: ignore[assignment]
        out.write(b'{"pid": 7}\n{"ended": 7, "code": -9}\n')
        assert zygote.exit_code(7) == -9

        out.write(b'{"pid": 7}\n')

        assert zygote.exit_code(7) is None


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1] + "-shm", "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, int(sys.argv[3]), int(sys.argv[2]))
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("first", "count", "others_wait"),
    [(120, 1, True), (121, 1, False), (122, 1, True), (123, 1, False), (124, 1, True), (124, 4, True)],
    ids=["writes", "folds", "recovers", "folds the rest", "moves a mark", "begins the log anew"],
)
def test_it_is_known_which_locks_keep_others_out(tmp_path: Path, first: int, count: int, others_wait: bool) -> None:
    file = tmp_path / "numbers.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (number)")
        command = [sys.executable, "-c", HOLDER, str(file), str(first), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"ready\n"

                assert keeps_others_out(holder.pid, file) is others_wait
                assert not keeps_others_out(os.getpid(), file)
            finally:
                holder.kill()


def test_a_killed_backend_takes_the_others_down_and_the_server_recovers(own_server: PostgresServer) -> None:
    def answers() -> bool:
        try:
            with psycopg.connect(own_server.url()) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    postmaster = own_server.pid
    with psycopg.connect(own_server.url()) as victim, psycopg.connect(own_server.url()) as witness:
        own_server.kill_backend(victim.info.backend_pid)

        with pytest.raises(psycopg.OperationalError):
            eventually(lambda: witness.execute("SELECT 1") and None)
    eventually(answers)
    assert own_server.pid == postmaster
    with pytest.raises(ValueError, match="not a child"):
        own_server.kill_backend(1)


def test_cpu_seconds_never_fall(own_server: PostgresServer) -> None:
    start = own_server.cpu_seconds()
    with psycopg.connect(own_server.url()) as connection:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000)")
        while_connected = own_server.cpu_seconds()
    after_work = own_server.cpu_seconds()
    own_server.restart()

    assert start < while_connected <= after_work <= own_server.cpu_seconds()


def test_a_durable_server_syncs_and_a_quick_one_does_not(own_server: PostgresServer) -> None:
    with PostgresServer(deadlock_timeout_s=0.25) as durable, psycopg.connect(durable.url()) as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes", "deadlock_timeout")
        ]
    with psycopg.connect(own_server.url()) as connection:
        quick = connection.execute("SHOW fsync").fetchone()

    assert shown == [("on",), ("on",), ("on",), ("250ms",)]
    assert quick == ("off",)


def test_the_guard_ends_the_server_of_a_killed_owner(postgres_server: Databases) -> None:
    program = (
        "import time\n"
        "from harness.postgres import PostgresServer\n"
        "server = PostgresServer(durable=False)\n"
        "server.start()\n"
        "print(server.pid, server.log_path.parent, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()

        owner.kill()

    eventually(lambda: not processes.is_alive(int(pid)))
    eventually(lambda: not Path(folder).exists())


def test_nothing_is_left_of_a_closed_server(own_server: PostgresServer) -> None:
    pid, folder = own_server.pid, own_server.log_path.parent

    own_server.close()
    own_server.close()

    assert not processes.is_alive(pid)
    assert not folder.exists()


async def test_the_shared_server_gives_each_test_an_empty_database(
    postgres_server: Databases, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()

    assert tables == 0
    assert postgres_server.describe()


def test_a_connection_left_open_fails_the_test(postgres_server: Databases) -> None:
    with (
        pytest.raises(AssertionError, match="closing every connection"),
        postgres_server.fresh_database(patience_s=0.1) as url,
    ):
        left_open = psycopg.connect(url)

    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


def test_a_password_is_never_shown() -> None:
    assert without_password("postgresql://ann:secret@db/app") == "postgresql://ann:***@db/app"
    assert without_password("postgresql://ann@db/app?password=secret&a=b").count("secret") == 0


async def test_waiting_gives_the_answer_or_says_what_did_not_happen() -> None:
    answers = iter([0, 0, 7])

    async def never() -> int:
        return 0

    assert eventually(lambda: next(answers), poll=0.001) == 7
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"the moon: not within 0\.05 s; the last answer was 0"):
        await eventually_async(never, timeout=0.05, what="the moon")
    assert time.monotonic() - started < 5
