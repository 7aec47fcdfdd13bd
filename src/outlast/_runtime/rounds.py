"""The loop that calls an actor's `beat()`, written once."""

from __future__ import annotations

import asyncio
from typing import Protocol

from outlast._runtime.events import Events
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._world import World


class Actor(Protocol):
    """Does one round of its work, and says when the next is due."""

    name: str

    async def beat(self) -> float:
        """One round. Returns seconds until the next, at most; a wake comes earlier."""


class Rounds:
    """Calls an actor's rounds until it is stopped. Trouble is reported and waited out; it never ends the loop.

    Args:
        actor: Whose rounds.
        jitter: Share of the wait that is random, so that many processes do not move in step.
    """

    def __init__(self, actor: Actor, *, events: Events, world: World, jitter: float = 0.1) -> None:
        self._actor = actor
        self._events = events
        self._world = world
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._patience = Patience(actor.name, events, world)

    def wake(self) -> None:
        """Makes the next round begin now."""
        self._wake.set()

    async def run(self) -> None:
        """Rounds, for ever."""
        while True:
            wait_s = await self._round()
            wait_s *= 1 - self._jitter * self._world.dice.random()
            await wait_for_event(self._wake, wait_s)
            self._wake.clear()

    async def _round(self) -> float:
        try:
            wait_s = await self._actor.beat()
        except TRANSIENT as error:
            return self._patience.next_s(error)
        except Exception as error:
            self._events.emit("loop.failed", loop=self._actor.name, error=f"{type(error).__name__}: {error}")
            return self._patience.next_s(error)
        self._patience.well()
        return wait_s


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Waits for `event`, at most `timeout_s` seconds. Whether it came. Does not clear it."""
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
