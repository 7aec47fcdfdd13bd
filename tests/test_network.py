"""The harness's parts that stand between processes and what they believe in: networks, replicas and clocks."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import asyncpg
import psycopg
import pytest

from harness.binaries import NoPostgres
from harness.clocks import NoClocks, clocks
from harness.postgres import USER, PostgresServer
from harness.proxy import Cut, Link, Proxy
from harness.replicas import Replica, replicate_to, written_after
from harness.waiting import eventually_async

ADD = "INSERT INTO numbers VALUES ($1)"
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def primary(own_postgres: None) -> Iterator[PostgresServer]:
    """A server with a table of numbers."""
    with PostgresServer(durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE numbers (number integer)")
        yield server


def numbers(server: PostgresServer) -> list[int]:
    """What is in the table."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()]


async def add(port: int, number: int, **options: float) -> None:
    """Adds a number through a proxy."""
    connection = await asyncpg.connect(f"postgresql://{USER}@127.0.0.1:{port}/postgres", timeout=5, **options)
    try:
        await connection.execute(ADD, number)
    finally:
        connection.terminate()


@pytest.mark.parametrize(("answer", "is_added"), [(True, True), (False, False)])
@pytest.mark.parametrize("kept", [0, 1, 7])
async def test_a_cut_answer_has_been_worked_for_and_a_cut_question_has_not(
    primary: PostgresServer, answer: bool, is_added: bool, kept: int
) -> None:
    number = 100 + 10 * answer + kept

    def decide(label: str, link: Link, size: int, is_answer: bool) -> Cut | None:
        assert (label, link.name) == ("add", "")
        return Cut(kept=kept, answer=answer) if is_answer is answer else None

    with Proxy(primary.port, marked={ADD: "add"}, decide=decide) as proxy:
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await add(proxy.port, number)

    assert (number in numbers(primary)) is is_added


async def test_a_silent_connection_is_not_told_and_the_time_is_noted(primary: PostgresServer) -> None:
    def decide(label: str, link: Link, size: int, answer: bool) -> Cut | None:
        return Cut(kept=3, silent=True) if answer else None

    with Proxy(primary.port, marked={ADD: "add"}, decide=decide) as proxy:
        with pytest.raises(TimeoutError):
            await add(proxy.port, 200, command_timeout=0.2)
        link = proxy.links[0]  # a second one may have come, on which the driver asks to cancel.
        await eventually_async(lambda: link.given_up_at is not None)

    assert link.given_up_at is not None
    assert 0.0 < link.given_up_at - (link.silent_since or 0.0) < 5.0
    assert 200 in numbers(primary)


async def test_what_is_muted_comes_later(primary: PostgresServer) -> None:
    with Proxy(primary.port) as proxy:
        proxy.mute(lambda name: True)
        waiting = asyncio.create_task(add(proxy.port, 300))
        await asyncio.sleep(0)
        assert 300 not in numbers(primary)

        proxy.mute(None)
        await asyncio.wait_for(waiting, 5)

    assert 300 in numbers(primary)


async def test_a_refused_connection_is_reset(primary: PostgresServer) -> None:
    with Proxy(primary.port) as proxy:
        proxy.refuse(True)
        with pytest.raises((ConnectionError, asyncpg.ConnectionDoesNotExistError)):
            await add(proxy.port, 400)
        proxy.refuse(False)
        await add(proxy.port, 401)


def test_a_promoted_replica_has_what_it_was_sent_and_the_log_tells_the_rest(own_postgres: None) -> None:
    with PostgresServer(durable=False) as first, psycopg.connect(first.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (number integer)")
        try:
            follower = Replica(first, name="follower", durable=False)
        except NoPostgres as error:
            pytest.skip(str(error))
        with follower:
            replicate_to(first, "follower")
            connection.execute("INSERT INTO numbers VALUES (1)")  # answered: the replica has it.
            follower.kill_postmaster(whole=True)
            replicate_to(first, None)
            lsn = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            connection.execute("INSERT INTO numbers VALUES (2)")
            row = connection.execute("SELECT xmin::text::bigint FROM numbers WHERE number = 2").fetchone()
            assert row is not None
            assert lsn is not None
            first.kill_postmaster(whole=True)
            follower.start()
            follower.promote()

            assert numbers(follower) in ([1], [1, 2])
            assert row[0] in written_after(first, lsn[0], 1)
            first.start_hidden()
            assert numbers(first) == [1, 2]
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(first.tcp_url(), connect_timeout=2)


SAY_TIMES = """
import datetime, sqlite3, sys, time
from harness.clocks import follow
if len(sys.argv) > 1:
    follow(sys.argv[1])
while sys.stdin.readline():
    ((lite,),) = sqlite3.connect(":memory:").execute("SELECT (julianday('now') - 2440587.5) * 86400")
    print(time.time(), datetime.datetime.now(datetime.UTC).timestamp(), lite, time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("by", ["environment", "call"])
def test_a_processes_wall_clock_follows_its_file_and_its_monotonic_clock_does_not(by: str) -> None:
    try:
        with clocks() as maker, closing(sqlite3.connect(":memory:")):
            clock = maker.clock("one")
            more = maker.environment(clock if by == "environment" else None)
            argv = [sys.executable, "-c", SAY_TIMES, *([] if by == "environment" else [str(clock.path)])]
            with subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **more}
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                for ahead_s in (0.0, DAY_S, -3_600.0):
                    clock.set(ahead_s=ahead_s)
                    process.stdin.write("\n")
                    process.stdin.flush()
                    *walls, steady = map(float, process.stdout.readline().split())
                    assert [round((wall - time.time() - ahead_s) / 30) for wall in walls] == [0, 0, 0]
                    assert abs(steady - time.monotonic()) < 30
                process.stdin.close()
    except NoClocks as error:
        pytest.skip(str(error))
