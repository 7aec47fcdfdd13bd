"""A process that stood still for longer than its lease: when it goes on, it begins nothing before it has renewed.

Others may have taken over what it held; it would learn so from its next renewal only.
"""

import asyncio
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Done, Engine, Machine, Next, parallel, step, workflow
from tests.engine.given import SOON_S, Ear, Engines, Table

BEGUN: list[str] = []
ENGINES: list[Engine] = []


@pytest.fixture(autouse=True)
def _nothing_begun() -> None:
    BEGUN.clear()
    ENGINES.clear()


def _stand_still() -> None:
    """The clock is past the lease, as after a freeze."""
    crew = ENGINES[0]._crew
    assert crew is not None
    assert crew.node is not None
    crew.node.renewed(float("-inf"))


def _renew(engine: Engine) -> None:
    """The next renewal is answered: nobody has taken anything over."""
    crew = engine._crew
    assert crew is not None
    assert crew.node is not None
    crew.node.renewed(asyncio.get_running_loop().time())
    crew._ring()


def _first() -> None:
    BEGUN.append("first")
    if BEGUN.count("first") == 1:
        _stand_still()


class Pair(Machine, name="test_late.pair"):
    @step
    async def start(self, ctx: Any) -> Any:
        _first()
        return Next(self.second)

    @step
    async def second(self, ctx: Any) -> Any:
        BEGUN.append("second")
        return Done("over")


@step
async def first() -> None:
    _first()


@step
async def second() -> None:
    BEGUN.append("second")


@step
def first_in_a_thread() -> None:
    _first()


@step
def second_in_a_thread() -> None:
    BEGUN.append("second")


@workflow(name="test_late.flow")
async def flow() -> str:
    await first()
    await second()
    return "over"


@workflow(name="test_late.branches")
async def branches() -> str:
    await parallel(first(), second())  # both are begun at once, in tasks of their own.
    return "over"


@workflow(name="test_late.threads")
async def threads() -> str:
    await first_in_a_thread()
    await second_in_a_thread()
    return "over"


@workflow(name="test_late.crowd")
async def crowd() -> str:
    await parallel(first_in_a_thread(), second_in_a_thread())  # for one thread.
    return "over"


@pytest.mark.parametrize(
    "request_", [Pair(), flow.new(), branches.new(), threads.new()], ids=["machine", "workflow", "branches", "threads"]
)
async def test_the_next_step_is_not_begun(engines: Engines, table: Table, request_: Any) -> None:
    engine = await engines.open(lease=60.0)
    ENGINES.append(engine)
    ear = Ear(engine)
    handle = await engine.start(request_)

    await eventually_async(lambda: BEGUN != [] and table.seen(handle.id, "status") == "ready")

    assert BEGUN == ["first"]
    assert table.seen(handle.id, "attempt") == table.seen(handle.id, "crashes") == 0
    assert [said["epoch"] for said in ear.all("claim.withheld", id=handle.id)] == [1]
    _renew(engine)
    assert await handle.result(SOON_S) == "over"
    assert BEGUN == ["first", "second"]


async def test_a_step_that_waits_for_a_thread_goes_on_waiting(engines: Engines, table: Table) -> None:
    engine = await engines.open(lease=60.0, threads=1)
    ENGINES.append(engine)
    handle = await engine.start(crowd.new())

    await eventually_async(lambda: len(table.query("SELECT 1 FROM {journal} WHERE status = 'done'")) == 1)
    assert BEGUN == ["first"]
    _renew(engine)

    assert await handle.result(SOON_S) == "over"
    assert BEGUN == ["first", "second"]
