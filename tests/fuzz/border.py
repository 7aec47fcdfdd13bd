"""Values that are sent into an open engine: what it takes it gives back, and what it refuses leaves no trace."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Final

from outlast import Engine
from outlast.testing import by_hand, drain
from tests.fuzz.nasty import text, value
from tests.fuzz.oracle import Finding, brief, politely
from tests.fuzz.values import echo
from tests.model import programs
from tests.model.programs import Counter, described

_SIZES: Final = (262_000, 262_144, 262_150, 1_048_577)
_FILTERS: Final = ("status", "program", "queue", "correlation_key", "tags", "waiting_for", "before", "limit")
_EACH: Final = 500
"""Cases that one flow, one robot and one inbox last for."""


class Border:
    """An engine that is run by hand, and somebody who sends it things."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._cases = 0
        self._engine: Engine = self._runner.run(
            self._stack.enter_async_context(by_hand(url=url, programs=[*programs.ALL, echo], retention=None))
        )

    def close(self) -> None:
        """Closes the engine."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def case(self, dice: Random) -> None:
        """One value."""
        if self._cases % _EACH == 0:
            self._runner.run(self._furnish())
        self._cases += 1
        kinds = (self._start, self._signal, self._answer, self._call, self._lists)
        self._runner.run(dice.choice(kinds)(dice))

    async def _furnish(self) -> None:
        engine = self._engine
        await engine.delete_many(older_than=0)
        self._robot = (await engine.start(described("robot", [["await", ["never"], None]]))).id
        self._flow = (await engine.start(described("flow", [["ask", "boss", None]]))).id
        await drain(engine)

    def _value(self, dice: Random) -> Any:
        return "é" * (dice.choice(_SIZES) // 2) if dice.random() < 0.01 else value(dice)

    async def _start(self, dice: Random) -> None:
        engine, given = self._engine, self._value(dice)
        before = sum((await engine.totals()).values())
        options: dict[str, Any] = {}
        if dice.random() < 0.3:
            options = {"correlation_key": text(dice), "tags": {text(dice): text(dice)}, "queue": text(dice)}
        handle = None
        with politely(told=(given, options)):
            handle = await engine.start(echo.new(given), **options)
        if handle is None:
            if sum((await engine.totals()).values()) != before:
                raise Finding(f"{brief(given)} was refused, and left a row", "trace")
            return
        await drain(engine)
        with politely(told=given):
            result = await handle.result(timeout=1)
            _same(given, result)
            found = await engine.find(options["correlation_key"]) if options else None
            if found is not None and found.id != handle.id:
                raise Finding(f"the key of {brief(options)} finds another instance", "key")
        await engine.delete(handle.id)

    async def _signal(self, dice: Random) -> None:
        engine, given = self._engine, self._value(dice)
        name, dedup_key = (text(dice) if dice.random() < 0.3 else "a"), (text(dice) if dice.random() < 0.2 else None)
        target = text(dice, (self._robot,)) if dice.random() < 0.2 else self._robot
        before, answer = len(await engine.signals(self._robot)), None
        with politely(told=(target, name, given, dedup_key)):
            answer = await engine.signal(target, name, given, dedup_key=dedup_key)
        after = await engine.signals(self._robot)
        if len(after) - before != (answer == "delivered" and target.lower() == self._robot):
            raise Finding(f"{brief((target, name, given))}: {answer!r}, and {len(after) - before} more", "trace")
        if len(after) > before:
            _same(given, after[-1].payload)

    async def _answer(self, dice: Random) -> None:
        name = "boss" if dice.random() < 0.9 else text(dice)
        with politely(told=name):
            given = value(dice)
            if given not in ("approved", "rejected", True, False):
                await self._engine.provide_input(self._flow, name, given)
                raise Finding(f"{brief(given)} was taken for an approval", "answer")

    async def _call(self, dice: Random) -> None:
        ref: Any = None
        given: Any = self._value(dice)
        with politely(ValueError, told=given):
            ref = self._engine.object(Counter, text(dice) if dice.random() < 0.5 else "x")
            count = await ref.add(given)
            if isinstance(given, bool) or not isinstance(given, (int, float)):
                raise Finding(f"add({brief(given)}) gave {count!r}", "call")

    async def _lists(self, dice: Random) -> None:
        filters = {
            dice.choice(
                ("status", "program", "queue", "correlation_key", "tags", "waiting_for", "before", "limit")
            ): value(dice, 3)
        }
        with politely(TypeError, told=filters):
            await self._engine.list(**filters)
        with politely(told=filters):
            await self._engine.find(text(dice))
        with politely(told=filters):
            await self._engine.get(text(dice, (self._robot,)))


def _same(given: Any, got: Any) -> None:
    """Raises: Finding: what came back is not what went in, but for what JSON has no words for."""
    if isinstance(given, (list, tuple)):
        if not isinstance(got, list) or len(got) != len(given):
            raise Finding(f"{brief(given)} came back as {brief(got)}", "round trip")
        for one, other in zip(given, got, strict=True):
            _same(one, other)
    elif isinstance(given, dict):
        if not isinstance(got, dict) or (len(got) != len(given) and all(isinstance(key, str) for key in given)):
            raise Finding(f"{brief(given)} came back as {brief(got)}", "round trip")
        for key in given:
            if isinstance(key, str):
                _same(given[key], got[key])
    elif isinstance(given, float):
        if not (isinstance(got, (int, float)) and math.isclose(given, got, rel_tol=1e-15)):
            raise Finding(f"{given!r} came back as {brief(got)}", "round trip")
    elif isinstance(given, (str, int)) and (given != got or type(given) is not type(got)):
        raise Finding(f"{brief(given)} came back as {brief(got)}", "round trip")
