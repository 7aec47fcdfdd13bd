"""The simulation is what other proofs rest on, so it is tested itself."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulation.universe import Stuck, Universe


@pytest.fixture
def universe() -> Iterator[Universe]:
    universe = Universe(random.Random(1))
    yield universe
    universe.end()


def _spawn(universe: Universe, make: Callable[[], Any]) -> Any:
    loop = universe.loop()
    loop.call_soon(lambda: loop.create_task(make()))
    return loop


def test_waiting_costs_nothing_and_timers_come_in_order(universe: Universe) -> None:
    told: list[tuple[float, str]] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        told.append((universe.now, name))

    for name, seconds in (("late", 3600.0), ("soon", 1.5), ("first", 0.0)):
        _spawn(universe, lambda name=name, seconds=seconds: sleep(name, seconds))

    assert universe.run(lambda: len(told) == 3, limit_s=4000.0)

    assert told == [(0.0, "first"), (1.5, "soon"), (3600.0, "late")]


def test_timeouts_are_virtual(universe: Universe) -> None:
    told: list[str] = []

    async def wait() -> None:
        try:
            async with asyncio.timeout(5.0):
                await asyncio.Event().wait()
        except TimeoutError:
            told.append(f"{universe.now:g}")

    _spawn(universe, wait)

    assert universe.run(lambda: bool(told), limit_s=10.0)
    assert told == ["5"]


def test_of_a_killed_process_nothing_runs_not_even_finally(universe: Universe) -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(2.0)
            told.append("done")
        finally:
            told.append("finally")

    loop = _spawn(universe, work)
    universe.at(1.0, loop.die)
    universe.at(5.0, lambda: None)

    assert not universe.run(lambda: False, limit_s=4.0)
    universe.end()

    assert told == []


def test_a_frozen_process_does_later_what_was_due(universe: Universe) -> None:
    told: list[float] = []

    async def work() -> None:
        await asyncio.sleep(1.0)
        told.append(universe.now)

    loop = _spawn(universe, work)
    universe.at(0.5, lambda: universe.halt(loop))
    universe.at(3.0, lambda: universe.go_on(loop))

    assert universe.run(lambda: bool(told), limit_s=10.0)
    assert told == [3.0]


def test_a_universe_in_which_nothing_can_happen_is_stuck(universe: Universe) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    _spawn(universe, wait)

    with pytest.raises(Stuck, match="nothing is left"):
        universe.run(lambda: False, limit_s=10.0)


def test_an_instant_that_never_ends_is_noticed(universe: Universe) -> None:
    async def spin() -> None:
        while await asyncio.sleep(0, result=True):
            pass

    _spawn(universe, spin)

    with pytest.raises(Stuck, match="turns of the loops at 0"):
        universe.run(lambda: False, limit_s=10.0)
