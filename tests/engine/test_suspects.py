"""Suspects, over which processes have died, run one at a time. They must not keep the others waiting."""

import asyncio

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
