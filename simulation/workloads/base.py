"""What a workload is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from outlast import Engine, Handle
from outlast.errors import CallError, StoreError
from simulation.scene import Scene

T = TypeVar("T")


class Workload:
    """Something that a cluster does.

    Attributes:
        programs: What its workers must know.
        slots: Limits of its concurrency keys.
        rates: Its rate limits, as the engine takes them.
        size: How much of it there is; a seed draws it.
        is_over: Whether the client has all it wanted.
        is_alone: Whether the cluster works on nothing else.
    """

    programs: ClassVar[tuple[Any, ...]] = ()
    slots: ClassVar[Mapping[str, int]] = {}
    rates: ClassVar[Mapping[str, str]] = {}

    SPAN_S: ClassVar = 12.0
    """Its work begins within so many seconds, most of them full of faults."""

    def __init__(self, scene: Scene, size: int) -> None:
        self.scene = scene
        self.size = size
        self.is_over = self.is_alone = False
        self.dice = scene.dice

    async def act(self, engine: Engine) -> None:
        """What the client does; it ends when all has ended."""
        raise NotImplementedError

    def check(self) -> Iterator[str]:
        """What is wrong at the end."""
        raise NotImplementedError

    async def surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call gives that may be repeated, tried until there is an answer."""
        while True:
            try:
                return await call()
            except (StoreError, CallError):
                await self.pause(0.2)

    async def start_once(self, engine: Engine, what: Any, key: str, **options: Any) -> Handle[Any]:
        """Starts something under a key of its own, for good: however often it is asked for, it is there once."""
        return await self.surely(
            lambda: engine.start(what, correlation_key=key, correlation_scope="always", on_conflict="return", **options)
        )

    async def pause(self, longest_s: float) -> None:
        """Waits a while."""
        await asyncio.sleep(self.dice.random() * longest_s)
