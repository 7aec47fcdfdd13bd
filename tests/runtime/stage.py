"""Stand-ins for what is around a single actor: clock, bell, ear. The store is always a real one."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

from outlast._runtime.doorbell import Doorbell
from tests.store.given import PinnedWorld

SOON_S = 20.0
"""Nothing that a test waits for takes longer; only a failing test waits that long."""


class Clock(PinnedWorld):
    """A world whose monotonic clock moves when told, and whose dice fall the same way each time.

    Attributes:
        now: Seconds on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dice = Random(0)
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Heard:
    """Events as they came: called by `Events` with name and fields."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        self.all.append((name, fields))

    def of(self, name: str) -> list[dict[str, Any]]:
        """Fields of the events of this name."""
        return [fields for known, fields in self.all if known == name]


class Bell:
    """Notes what other processes are told."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    async def listen(self, heard: Any) -> None:
        """Others never ring here."""

    def ring(self, message: str) -> None:
        self.rung.append(message)


class Rings(Doorbell):
    """A real doorbell with one queue, `default`, whose wakes are noted.

    Attributes:
        bell: What other processes were told.
        woken: What was woken here, in order: `queue`, `timer`.
    """

    def __init__(self) -> None:
        self.bell = Bell()
        super().__init__(self.bell, remote=True)
        self.woken: list[str] = []
        self.on_queue("default", lambda: self.woken.append("queue"))
        self.on_timer(lambda: self.woken.append("timer"))


async def soon(awaitable: Any) -> Any:
    """What it answers, within `SOON_S`."""
    async with asyncio.timeout(SOON_S):
        return await awaitable


async def turns(count: int = 5) -> None:
    """Lets everybody on the loop go on a little."""
    for _ in range(count):
        await asyncio.sleep(0)


def ids_of(claims: Iterable[Any]) -> set[str]:
    """The ids of claims."""
    return {claim.id for claim in claims}
