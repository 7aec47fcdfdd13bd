"""Suspects, over which processes have died, run one at a time. They must not keep the others waiting."""

import asyncio
from typing import Any

from harness.waiting import eventually_async
from outlast import job
from tests.engine.given import Engines, Table, soon

SUSPECTS = 30
CONCURRENCY = 5


async def test_suspects_in_front_do_not_hold_up_those_behind(engines: Engines, table: Table) -> None:
    hold, running, most = asyncio.Event(), 0, 0

    @job
    async def wait(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await hold.wait()
        running -= 1
        return n

    @job
    async def go(n: int) -> int:
        return n

    submitter = await engines.open(queues={})
    suspects = await submitter.start_many((wait.new(n=n) for n in range(SUSPECTS)), priority=-1)
    table.query("UPDATE {instances} SET crashes = 3")
    behind = await submitter.start_many(go.new(n=n) for n in range(100))

    await engines.open(queues={"default": CONCURRENCY}, programs=[wait, go])
    results = [await soon(handle.result()) for handle in behind]
    claimed_often = table.query("SELECT id FROM {instances} WHERE crashes = 3 AND epoch > 2")

    assert results == list(range(100))
    assert claimed_often == []
    assert running == 1

    hold.set()
    assert [await soon(handle.result()) for handle in suspects] == list(range(SUSPECTS))
    assert most == 1


async def test_a_suspect_waits_until_what_came_of_the_last_one_is_durable(engines: Engines, table: Table) -> None:
    """Else it could end the process before that, and the innocent one would share its crash."""
    began: list[int] = []
    durable, takes = asyncio.Event(), 0

    @job
    async def suspicious(n: int) -> int:
        began.append(n)
        return n

    submitter = await engines.open(queues={})
    suspects = await submitter.start_many(suspicious.new(n=n) for n in range(2))
    table.query("UPDATE {instances} SET crashes = 3")

    engine = engines.new(queues={"default": 5}, programs=[suspicious], poll_interval=0.01, max_poll_interval=0.01)
    claims: Any = engine._store.claims
    take, commit = claims.take, claims.commit

    async def counted(*values: Any) -> Any:
        nonlocal takes
        takes += 1
        return await take(*values)

    async def held(batch: Any) -> Any:
        await durable.wait()
        return await commit(batch)

    claims.take, claims.commit = counted, held
    async with engine:
        await eventually_async(lambda: len(began) > 0, timeout=20)
        seen = takes
        await eventually_async(lambda: takes > seen + 5, timeout=20)

        assert len(began) == 1

        durable.set()
        assert [await soon(handle.result()) for handle in suspects] == [0, 1]
    assert sorted(began) == [0, 1]
