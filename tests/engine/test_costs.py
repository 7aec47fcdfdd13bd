"""What an engine costs the database: idle, saturated, and per job."""

import asyncio
import sqlite3
import time
from typing import Any

import asyncpg
import pytest

from outlast import Engine, Queue, job
from outlast._store.sqlite.store import SqliteStore
from tests.engine.given import SOON_S, Engines, Tally, soon

DEFAULTS = {"poll_interval": 1.0, "max_poll_interval": 5.0}
WATCHED_S = 0.5


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of every connection made from now on, but SQLite's look at its change counter."""
    statements: list[str] = []

    def note(text: str) -> None:
        if not text.startswith("PRAGMA") and "pg_catalog." not in text:
            statements.append(text)

    connect: Any = SqliteStore._connect
    make: Any = asyncpg.Connection.__init__

    def connect_and_listen(self: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(self)
        connection.set_trace_callback(note)
        return connection

    def make_and_listen(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self.add_query_logger(lambda record: note(record.query))

    monkeypatch.setattr(SqliteStore, "_connect", connect_and_listen)
    monkeypatch.setattr(asyncpg.Connection, "__init__", make_and_listen)
    return statements


async def first_rounds(sent: list[str]) -> None:
    """Waits until every loop of the engines has had its first round: until nothing is asked for a while."""
    async with asyncio.timeout(SOON_S):
        while sent:
            sent.clear()
            await asyncio.sleep(0.1)


async def watch() -> float:
    """Lets the engines go on for a while. Returns how long it was, in seconds: machines may stand still."""
    began = time.monotonic()
    await asyncio.sleep(WATCHED_S)
    return time.monotonic() - began


def _commits(statements: list[str]) -> int:
    """Transactions that wrote: SQLite names its commits; on Postgres each changing statement is one."""
    explicit = [text for text in statements if text.startswith("COMMIT")]
    if explicit:
        return len(explicit)
    changing = ("INSERT", "UPDATE", "DELETE", "WITH")
    return len([text for text in statements if text.lstrip().startswith(changing)])


async def test_an_idle_engine_hardly_asks(engines: Engines, sent: list[str]) -> None:
    engine = await engines.open(**DEFAULTS)
    await engine.totals()
    await first_rounds(sent)

    watched_s = await watch()

    assert len(sent) <= 5 * watched_s + 1, sent
    assert _commits(sent) <= 1, sent


async def test_idle_engines_do_not_keep_each_other_awake(engines: Engines, sent: list[str]) -> None:
    for _ in range(3):
        await engines.open(**DEFAULTS)
    await first_rounds(sent)

    watched_s = await watch()

    assert len(sent) <= 3 * 5 * watched_s + 3, sent


async def test_a_full_queue_with_a_backlog_is_left_alone(engines: Engines, sent: list[str]) -> None:
    begun, gate = Tally(), asyncio.Event()

    @job(name="test_costs.block")
    async def block() -> None:
        begun.add()
        await gate.wait()

    engine = await engines.open(**DEFAULTS, queues={"default": 5})
    handles = await engine.start_many(block.new() for _ in range(100))
    await begun.reaches(5)
    await asyncio.sleep(0.05)
    sent.clear()

    watched_s = await watch()

    assert len(sent) <= 5 * watched_s + 1, sent
    assert _commits(sent) <= 1, sent
    gate.set()
    for handle in handles:
        await handle.result(30)


async def test_a_thousand_jobs_share_a_few_commits(engines: Engines, sent: list[str]) -> None:
    runs = Tally()

    @job(name="test_costs.noop")
    async def noop() -> None:
        runs.add()

    async with engines.new(queues={}) as submitter:
        await submitter.start_many(noop.new() for _ in range(1_000))
        assert _commits(sent) <= 2 + 2, sent  # two chunks of rows at most, and what opening costs.
        sent.clear()

    engine = await engines.open(queues={"default": Queue(100)}, programs=[noop])
    await runs.reaches(1_000)
    await soon(_settled(engine))

    assert await engine.totals() == {"done": 1_000}
    assert _commits(sent) <= 0.02 * 1_000 + 20, len(sent)
    assert runs.count == 1_000


async def test_one_job_costs_its_start_its_claim_and_its_commit(engines: Engines, sent: list[str]) -> None:
    @job(name="test_costs.noop")
    async def noop() -> None: ...

    engine = await engines.open(**DEFAULTS)
    await (await engine.start(noop.new())).result(SOON_S)
    each = []
    for _ in range(5):
        await first_rounds(sent)

        await (await engine.start(noop.new())).result(SOON_S)

        each.append(list(sent))
    assert min(map(_commits, each)) <= 3, each  # the rest of the engine's rounds may fall into some of them.


async def _settled(engine: Engine) -> None:
    assert engine._crew is not None
    await engine._crew.committer.settled()
