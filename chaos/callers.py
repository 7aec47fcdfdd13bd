"""Who calls cells: one call after the other, each written down before it is made and when its answer has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from chaos.cells import TICK, Cell, Refused
from chaos.history import History
from outlast import Engine
from outlast.errors import CallError, EngineStateError, StoreError

SHARES: Final = {
    "add": 34,
    "thread": 4,
    "get": 26,
    "swap": 8,
    "spoil": 3,
    "keyed": 5,
    "shared": 5,
    "send": 3,
    "sendkeyed": 2,
    "pass": 3,
    "arm": 3,
    "disarm": 1,
    "tick": 3,
}
HOT: Final = 8
HOT_SHARE: Final = 0.15
BUCKET_S: Final = 0.25
"""Calls of one hot cell within such a span of time have one key."""
TRIES_MAX: Final = 10
_NUMBERS: Final = 100_000_000


class Callers:
    """Calls that one process makes at the same time.

    Args:
        place: Of the process among all, for numbers of its own.
        cells: How many cells there are.
        stop: The file that says when to end.
    """

    def __init__(self, engine: Engine, history: History, dice: Random, *, place: int, cells: int, stop: Path) -> None:
        self._engine = engine
        self._history = history
        self._dice = dice
        self._next = place * _NUMBERS
        self._cells = cells
        self._stop = stop
        self._known: dict[str, int] = {}
        self._armed: list[tuple[str, str]] = []
        self._refs: dict[str, Any] = {}

    async def run(self, count: int) -> None:
        """Calls, `count` at once, until there is the file."""
        await asyncio.gather(*(self._go_on() for _ in range(count)))
        self._history.write("idle")

    async def _go_on(self) -> None:
        kinds, weights = list(SHARES), list(SHARES.values())
        calls = 0
        while True:
            if calls % 20 == 0 and self._stop.exists():
                return
            calls += 1
            (kind,) = self._dice.choices(kinds, weights)
            await self._do(kind)

    def _ref(self, id: str) -> Any:
        ref = self._refs.get(id)
        if ref is None:
            ref = self._refs[id] = self._engine.object(Cell, id)
        return ref

    def _draw(self) -> str:
        return f"c{self._dice.randrange(HOT if self._dice.random() < HOT_SHARE else self._cells)}"

    async def _do(self, kind: str) -> None:
        dice, id = self._dice, self._draw()
        ref = self._ref(id)
        self._next += 1
        number = self._next
        amount = dice.randrange(1, 2**40)
        token = f"t{number}"
        match kind:
            case "add":
                await self._note(id, number, "add", [amount], lambda: ref.add(amount))
            case "thread":
                await self._note(id, number, "add", [amount], lambda: ref.add_on_a_thread(amount))
            case "get":
                await self._note(id, number, "get", [], ref.get)
            case "swap":
                old = self._known.get(id, 0)
                await self._note(id, number, "swap", [old, amount], lambda: ref.swap(old, amount))
            case "spoil":
                await self._note(id, number, "add", [amount], lambda: ref.spoil(amount))
            case "keyed":
                add = ref.add.with_options(idempotency_key=token)
                await self._note(id, number, "keyed", [amount, token], lambda: add(amount), tries=TRIES_MAX)
            case "shared":
                id = f"c{dice.randrange(HOT)}"
                key = f"s{int(time.monotonic() / BUCKET_S)}"
                amount = Random(f"{id} {key}").randrange(1, 2**40)
                add = self._ref(id).add.with_options(idempotency_key=key)
                await self._note(id, number, "keyed", [amount, key], lambda: add(amount), tries=TRIES_MAX)
            case "send":
                await self._note(id, number, "send", [token], lambda: ref.mark.send(token))
            case "sendkeyed":
                mark = ref.mark.with_options(idempotency_key=token)
                await self._note(id, number, "once", [token], lambda: mark.send(token), tries=TRIES_MAX)
            case "pass":
                other = self._draw()
                await self._note(id, number, "pass", [token, other], lambda: ref.pass_on(token, other))
            case "arm":
                delay_s = round(dice.uniform(0.0, 0.3), 3)
                if await self._note(id, number, "arm", [token], lambda: ref.arm(token, delay_s)):
                    self._armed.append((id, token))
                    del self._armed[:-100]
            case "disarm" if self._armed:
                id, token = self._armed.pop(dice.randrange(len(self._armed)))
                await self._note(id, number, "disarm", [token], lambda: self._ref(id).disarm(token))
            case "tick":
                id = f"c{dice.randrange(HOT)}"
                await self._note(id, number, "tick", [], lambda: self._engine.schedule_alarm(self._ref(id), TICK, 0.0))

    async def _note(
        self, id: str, number: int, kind: str, args: list[Any], call: Callable[[], Awaitable[Any]], *, tries: int = 1
    ) -> bool:
        """Makes a call, again while nobody knows what became of it and `tries` are left. Whether it was answered."""
        write = self._history.write
        write("ask", id, number, kind, *args)
        is_unknown = False
        for _ in range(tries):
            try:
                answer = await call()
            except Refused:
                break
            except CallError as error:
                is_unknown |= error.happened is not False
            except (StoreError, EngineStateError):
                is_unknown = True
                await asyncio.sleep(0.05)
            else:
                answer = int(answer) if isinstance(answer, bool) else answer
                write("told", id, number, "ok", answer)
                if kind in ("add", "get", "keyed"):
                    self._known[id] = answer
                return True
        write("told", id, number, "maybe" if is_unknown else "no")
        return False
