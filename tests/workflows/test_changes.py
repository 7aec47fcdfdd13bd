"""Code that changes under instances that wait: steps added, taken away, moved."""

from typing import Any

import pytest

from outlast import sleep, workflow
from outlast.testing import by_hand, clock_of, drain
from tests.workflows.programs import SEEN, charge, reserve, ship


def first() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        a = await reserve(1)
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        return [a, b]

    return changing


def added() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        new = await charge(9, 900)
        a = await reserve(1)
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        return [new.cents, a, b]

    return changing


def removed() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        await sleep(60)
        return [await ship(2)]  # type: ignore[misc]

    return changing


def moved() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        a = await reserve(1)
        return [a, b]

    return changing


@pytest.mark.parametrize(
    ("later", "result", "ran"),
    [
        (first, ["stock 1", 2], ["ship 2"]),
        (added, [900, "stock 1", 2], ["charge 9", "ship 2"]),
        (removed, [2], ["ship 2"]),
        (moved, ["stock 1", 2], ["ship 2"]),
    ],
)
async def test_an_instance_goes_on_with_the_new_code(store_url: str, later: Any, result: Any, ran: list[str]) -> None:
    program = first()
    async with by_hand(url=store_url, programs=[program]) as before:
        handle = await before.start(program.new())
        await drain(before)
        assert SEEN == ["reserve 1"]
        SEEN.clear()
    new = later()

    async with by_hand(url=store_url, programs=[new]) as after:
        clock_of(after).jump(61)
        await drain(after)
        assert await after.handle(handle.id).result(1) == result
    assert SEEN == ran
