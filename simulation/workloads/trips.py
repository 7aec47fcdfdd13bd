"""Workflows: recorded steps, branches, sleeps, signals, children and compensation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

from outlast import (
    Engine,
    backoff,
    call_child,
    current_step,
    parallel,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from outlast.errors import InstanceFailed
from simulation.scene import scene
from simulation.workloads.base import Workload


def _run() -> int:
    info = current_step()
    assert info is not None
    return scene().ran(info.id, info.key, is_recorded=True)


@step
async def undo(n: int) -> int:
    """Takes a reservation back."""
    return _run()


@step(compensate=undo)
async def reserve(n: int) -> int:
    """The first step; undone when the trip fails."""
    run = _run()  # it begins here: a process that stood still may go on to the step's end.
    await asyncio.sleep(0.05 * (n % 4))
    return run


@step(max_attempts=3, backoff=backoff.constant(0.2))
async def charge(n: int, reserved: int) -> int:
    """Fails at first, for some."""
    info = current_step()
    assert info is not None
    run = _run()
    if scene().held(info.id, "id") is not None and not scene().query(
        "SELECT 1 FROM outlast_journal WHERE instance = ? AND key LIKE 'reserve%' AND value = ?", info.id, str(reserved)
    ):
        scene().referee.accuse(f"{info.id} goes on with {reserved}, which is not recorded")
    if n % 4 == 1 and info.attempt == 0:
        raise ValueError("not yet")
    return run


@step
async def pack(n: int, place: int) -> int:
    """What branches do, again and again."""
    run = _run()
    await asyncio.sleep(0.05 * place)
    return run


@step(on="far")
async def weigh(n: int) -> int:
    """Runs elsewhere, as an instance of its own."""
    await asyncio.sleep(0.03)
    return scene().ran(f"trip {n}", "weigh")


@step
async def note(order: list[int]) -> list[int]:
    """Writes down in which order the branches have ended their first steps."""
    _run()
    return [-1000, *(-1000 - number for number in order)]


@step
async def ship(n: int, told: list[int]) -> list[int]:
    """The last step: it is told what all others returned."""
    _run()
    return told


@workflow(name="sim.leg", retention=None)
async def leg(n: int) -> int:
    """A child."""
    return await pack(n, 0)


async def _branch(n: int, place: int, order: list[int]) -> list[int]:
    first = await pack(n, place)
    order.append(first)  # in each run of the code, branches go on in the order in which they did at first.
    if place == 1:
        await sleep(0.3)
        return [first, await weigh(n), await pack(n, place)]
    return [first, await pack(n, 2 - place)]


class Lost(Exception):
    """What some trips end with."""


@workflow(name="sim.trip", retention=None)
async def trip(n: int) -> list[int]:
    """Everything a workflow has."""
    told = [await reserve(n)]
    told.append(await charge(n, told[0]))
    order: list[int] = []
    for found in await parallel(_branch(n, 0, order), _branch(n, 1, order), _branch(n, 2, order)):
        told += found
    told += await note(order)
    told.append(await wait_for_signal("go"))
    if n % 3:
        told.append(await call_child(leg.new(n=n)))
    if n % 5 == 4:
        raise Lost(str(n))
    if (await note(order))[1:] != told[told.index(-1000) + 1 :][: len(order)]:
        raise RuntimeError(f"another order: {order}, {told}")
    return await ship(n, told)


class Trips(Workload):
    """Starts trips, lets them go, and compares what they return with what is recorded."""

    programs = (trip, leg, weigh)

    async def act(self, engine: Engine) -> None:
        await asyncio.gather(*(self._one(engine, n) for n in range(self.size)))
        self.is_over = True

    async def _one(self, engine: Engine, n: int) -> None:
        await self.pause(self.SPAN_S)
        handle = await self.start_once(engine, trip.new(n=n), f"trip:{n}")
        await self.pause(3.0)
        await self.surely(lambda: engine.signal(handle.id, "go", -n, dedup_key="go"))
        try:
            result = await self.surely(lambda: handle.result(1000))
        except InstanceFailed:
            result = None
        self._compare(n, handle.id, result)

    def _compare(self, n: int, id: str, result: list[int] | None) -> None:
        accuse = self.scene.referee.accuse
        if (result is None) != (n % 5 == 4):
            accuse(f"trip {n} ({id}) ended with {result}")
        if result is not None and (len(set(result)) != len(result) or -n not in result):
            accuse(f"trip {n} ({id}) was told something twice: {result}")

    def check(self) -> Iterator[str]:
        for id, status, n, result in self.scene.query(
            "SELECT id, status, json_extract(state, '$.n'), result FROM outlast_instances WHERE program = 'sim.trip'"
        ):
            if status != ("compensated" if n % 5 == 4 else "done"):
                yield f"trip {id} has ended as {status}"
            entries = self.scene.query("SELECT key, status, value FROM outlast_journal WHERE instance = ?", id)
            recorded = {json.loads(value) for key, state, value in entries if "pack" in key or "reserve" in key}
            if result is not None and not recorded <= set(json.loads(result)):
                yield f"trip {id} returned {result}, and has recorded {sorted(recorded)}"
            undone = [key for key, state, _ in entries if key.startswith("~undo/") and state == "done"]
            if len(undone) != (n % 5 == 4):
                yield f"trip {id} has undone {undone}"
