"""What the crash runs call: objects with a number that everybody changes, and tokens that say what has reached them."""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import Final

from chaos.history import History
from outlast import Object, alarm, handler

TYPE: Final = "Cell"
TICK: Final = "tick"
TICK_S: Final = 0.003
"""How long the handler of a tick takes, so that some are set again while it runs."""
_histories: Final[list[History]] = []


def watch(history: History) -> None:
    """Rings are written into this history from now on."""
    _histories[:] = [history]


class Refused(Exception):
    """What a handler raises that must leave nothing."""


class Cell(Object, name=TYPE, hibernate_after=0.3, shutdown_after=0.6, call_timeout=3.0):
    """A number, and what has come here: marks and rings by token, tokens that were passed on."""

    value: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    rung: dict[str, int] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)

    @handler
    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    @handler
    def add_on_a_thread(self, amount: int) -> int:
        self.value += amount
        return self.value

    @handler(read_only=True)
    async def get(self) -> int:
        return self.value

    @handler
    async def swap(self, old: int, new: int) -> bool:
        if self.value != old:
            return False
        self.value = new
        return True

    @handler
    async def spoil(self, amount: int) -> None:
        self.value += amount
        raise Refused

    @handler
    async def mark(self, token: str) -> None:
        self.marks[token] = self.marks.get(token, 0) + 1

    @handler
    async def pass_on(self, token: str, to: str) -> None:
        self.passed.append(token)
        await self.object(Cell, to).mark.send(token)

    @handler
    async def arm(self, token: str, delay_s: float) -> None:
        self.schedule_alarm(token, delay_s)

    @handler
    async def disarm(self, token: str) -> bool:
        """Whether it has rung already; if not, it never will."""
        self.cancel_alarm(token)
        return token in self.rung

    @alarm
    async def tick(self) -> None:
        for history in _histories:
            history.write("rang", self.id)
        await asyncio.sleep(TICK_S)

    async def on_alarm(self, name: str) -> None:
        self.rung[name] = self.rung.get(name, 0) + 1
