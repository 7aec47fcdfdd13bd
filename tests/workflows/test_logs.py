"""What steps of workflows say: by journal key, once per execution, lost ones included."""

from typing import Any

import pytest

from outlast import Engine, InstanceFailed, step, workflow
from outlast.testing import assert_done, clock_of, crash_before_commit, drain
from tests.engine.given import SOON_S
from tests.workflows.programs import order


async def unbook(room: str) -> None:
    print("unbooked", room)


@step(compensate=unbook)
async def book(room: str) -> str:
    print("booked", room)
    return room


@step
def pay() -> None:
    print("paying")
    raise ValueError("no money")


@workflow(name="logs.trip")
async def trip() -> None:
    await book("12")
    await pay()  # type: ignore[misc]  # a plain def, awaited as every step is.


@workflow(name="logs.stay")
async def stay() -> str:
    return await book("7")


async def said(engine: Engine, target: Any) -> list[tuple[str, str]]:
    return [(line.step, line.message) for line in await engine.logs(target)]


async def test_what_is_undone_says_so_under_its_own_key(worker: Engine) -> None:
    handle = await worker.start(trip.new())
    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)

    assert await said(worker, handle) == [
        ("book#1", "booked 12"),
        ("pay#1", "paying"),
        ("~undo/book#1/unbook#1", "unbooked 12"),
    ]


async def test_what_a_lost_attempt_said_is_kept(hand: Engine) -> None:
    handle = await hand.start(stay.new())
    with crash_before_commit(hand, stay, "book"):
        await drain(hand)
    await drain(hand)

    assert await assert_done(hand, handle) == "7"
    lines = await hand.logs(handle)
    assert [line.message for line in lines] == ["booked 7", "booked 7"]
    assert lines[0].number < lines[1].number


async def test_a_line_tells_the_time_of_the_engines_clock(hand: Engine) -> None:
    clock_of(hand).jump(86_400)
    handle = await hand.start(stay.new())
    await drain(hand)

    instance = await handle.get()
    (line,) = await hand.logs(handle)
    assert instance.finished_at is not None
    assert abs((line.at - instance.finished_at).total_seconds()) < 60


async def test_steps_that_are_recalled_say_nothing_again(hand: Engine) -> None:
    @step
    async def talk(number: int) -> None:
        print("talk", number)

    @workflow(name="logs.talks")
    async def talks() -> None:
        await talk(1)
        await order.function(1)
        await talk(2)

    handle = await hand.start(talks.new())
    await drain(hand)
    clock_of(hand).jump(7_200)
    await drain(hand)

    assert await said(hand, handle) == [("talk#1", "talk 1"), ("talk#2", "talk 2")]
