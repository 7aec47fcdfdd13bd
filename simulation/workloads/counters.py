"""Objects: each call adds a number to a list, so that the list says which calls have happened, and in which order."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from outlast import Engine, Object, handler, job
from outlast.errors import CallError, StoreError
from simulation.scene import scene
from simulation.workloads.base import Workload

OBJECTS = 3
CALLS = 6
RING = 5
"""Every number that this divides sets an alarm."""


class Refused(Exception):
    """What a handler raises that must leave no trace."""


class Register(Object, name="sim.register", hibernate_after=1.0, shutdown_after=3.0, call_timeout=2.0):
    """A list of numbers."""

    seen: list[int] = field(default_factory=list)
    rung: list[str] = field(default_factory=list)

    @handler
    async def add(self, number: int, nap_s: float) -> list[int]:
        """Adds one, and answers with all that are there by then."""
        self.seen.append(number)
        await asyncio.sleep(nap_s)
        if number % 11 == 7:
            raise Refused(str(number))
        if number % RING == 0:
            self.schedule_alarm(str(number), 0.5)
        return list(self.seen)

    @handler(read_only=True)
    async def read(self) -> list[int]:
        """All that are there."""
        return list(self.seen)

    async def on_alarm(self, name: str) -> None:
        """Notes that it rang."""
        self.rung.append(name)


@job(name="sim.call", max_attempts=1, retention=None)
async def call(id: str, number: int) -> list[int] | None:
    """Calls from a worker: wherever the object lives, and however often this runs, once."""
    engine: Engine = asyncio.get_running_loop().owner.engine  # type: ignore[attr-defined]
    while True:
        try:
            return await engine.object(Register, id).add.with_options(idempotency_key=str(number))(number, 0.01)
        except Refused:
            return None
        except (CallError, StoreError):
            await asyncio.sleep(0.1)


@dataclass
class Asked:
    """One call: when it was made and answered, and what was told."""

    id: str
    number: int | None
    began_s: float
    ended_s: float = float("inf")
    told: list[int] | None = None
    happened: bool | None = None


@job(name="sim.visit", max_attempts=1, retention=None)
async def visit(id: str) -> None:
    """Calls and reads from a worker, without keys: where it owns the object, nothing of it goes through the store."""
    engine: Engine = asyncio.get_running_loop().owner.engine  # type: ignore[attr-defined]
    calls = [_ask(engine, id, scene().new_number(), 0.01) for _ in range(2)]
    reads = [_ask(engine, id, None, 0.0) for _ in range(2)]
    await asyncio.gather(*calls, *reads)
    await _ask(engine, id, None, 0.0)


async def _ask(engine: Engine, id: str, number: int | None, nap_s: float) -> None:
    """One call or read, and what it was told, noted at once: who makes it may be killed the moment after."""
    register, asked = engine.object(Register, id), Asked(id, number, scene().universe.now)
    scene().notes.append(asked)
    try:
        asked.told = await (register.read() if number is None else register.add(number, nap_s))
        asked.ended_s, asked.happened = scene().universe.now, True
    except Refused:
        asked.happened = False
    except CallError as error:
        asked.happened = error.happened
    except StoreError:
        pass


class Counters(Workload):
    """Callers call and read, from the client and from jobs, and note what they were told."""

    programs = (Register, call, visit)

    async def act(self, engine: Engine) -> None:
        callers = [self._caller(engine, f"o{n % OBJECTS}") for n in range(self.size)]
        await asyncio.gather(*callers)
        await self.surely(lambda: self._rest(engine))
        self.is_over = True

    async def _rest(self, engine: Engine) -> None:
        """Until what is under way is over: what was told as unknown may still happen."""
        await asyncio.sleep(5.0)
        while self.scene.query("SELECT 1 FROM outlast_alarms WHERE failed_us IS NULL"):
            await self.pause(1.0)

    async def _caller(self, engine: Engine, id: str) -> None:
        for _ in range(CALLS):
            await self.pause(self.SPAN_S / CALLS)
            number = self.scene.new_number()
            if number % 4 == 2:
                handle = await self.start_once(engine, visit.new(id=id), f"visit:{number}")
                await self.surely(lambda handle=handle: handle.result(1000))  # type: ignore[misc]
            elif number % 4 == 0:
                await self._from_a_job(engine, id, number)
            else:
                nap_s = self.dice.random() * (3.0 if self.dice.random() < 0.15 else 0.02)
                await _ask(engine, id, None if number % 3 == 0 else number, nap_s)

    async def _from_a_job(self, engine: Engine, id: str, number: int) -> None:
        asked = Asked(id, number, self.scene.universe.now)
        self.scene.notes.append(asked)
        handle = await self.start_once(engine, call.new(id=id, number=number), f"call:{number}")
        asked.told = await self.surely(lambda: handle.result(1000))
        asked.ended_s, asked.happened = self.scene.universe.now, asked.told is not None

    def check(self) -> Iterator[str]:
        states = {
            id: json.loads(state)
            for id, state in self.scene.query("SELECT id, state FROM outlast_objects WHERE type = 'sim.register'")
        }
        for id in {asked.id for asked in self.scene.notes}:
            state = states.get(id, {"seen": [], "rung": []})
            yield from _judge(id, state, [asked for asked in self.scene.notes if asked.id == id])


def _judge(id: str, state: dict[str, Any], asked: list[Asked]) -> Iterator[str]:
    """Whether one order of all calls explains every answer: the one in which the numbers stand."""
    seen: list[int] = state["seen"]
    if len(set(seen)) != len(seen):
        yield f"{id}: a call happened twice: {seen}"
    for each in asked:
        if each.told is not None and each.told != seen[: len(each.told)]:
            yield f"{id}: an answer was {each.told}, and the numbers are {seen}"
        if each.told is not None and each.number is not None and each.number not in each.told:
            yield f"{id}: the answer to {each.number} does not hold it: {each.told}"
        if each.happened is False and each.number in seen:
            yield f"{id}: {each.number} was told not to have happened, and is there"
    told = sorted((each for each in asked if each.told is not None), key=lambda each: each.began_s)
    ended = sorted(told, key=lambda each: each.ended_s)
    longest, place = 0, 0
    for each in told:
        while ended[place].ended_s < each.began_s:
            longest = max(longest, len(ended[place].told or ()))
            place += 1
        if len(each.told or ()) < longest + (each.number is not None):
            yield f"{id}: an answer of {each.began_s:.3f} s is older than one given before: {each.told}"
    rings = Counter(state["rung"])
    for number in seen:
        if number % RING == 0 and rings[str(number)] != 1:
            yield f"{id}: the alarm {number} rang {rings[str(number)]} times"
