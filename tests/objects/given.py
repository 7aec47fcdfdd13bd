"""What tests of races start from: store methods that can be held open, and nodes that die when told."""

import asyncio
from collections.abc import Callable
from typing import Any

from outlast import Engine
from outlast._runtime.node import Node
from tests.engine.given import SOON_S, Table


class Gate:
    """A method of a store's noun whose calls can be held: before they do their work, or when it is done.

    Args:
        noun: Such as `engine._store.calls`.
        method: The method's name.
    """

    def __init__(self, noun: Any, method: str) -> None:
        self._real = getattr(noun, method)
        self._before = self._after = False
        self._open = asyncio.Event()
        self._reached = asyncio.Event()
        self._news = asyncio.Event()
        self.calls = self.done = 0
        setattr(noun, method, self._call)

    def hold(self, *, before: bool = False) -> None:
        """The next calls wait when their work is done, or before it, until `open`."""
        self._before, self._after = before, not before
        self._open.clear()
        self._reached.clear()

    def open(self) -> None:
        """Lets those go on that wait, and all that come."""
        self._before = self._after = False
        self._open.set()

    async def reached(self) -> None:
        """Waits until a call is held."""
        async with asyncio.timeout(SOON_S):
            await self._reached.wait()

    async def passes(self, count: int = 1, *, ring: Callable[[], None]) -> None:
        """Rings until so many calls more were begun and done."""
        for _ in range(count):
            wanted = self.calls + 1
            ring()
            async with asyncio.timeout(SOON_S):
                while self.calls < wanted or self.done < wanted:
                    self._news.clear()
                    await self._news.wait()
            await asyncio.sleep(0)  # so that the one who called has heard of it.

    async def _call(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self._before:
            self._reached.set()
            await self._open.wait()
        answer = await self._real(*args, **options)
        if self._after:
            self._reached.set()
            await self._open.wait()
        self.done += 1
        self._news.set()
        return answer


def ring(engine: Engine) -> None:
    """Somebody rings for objects."""
    engine._crew.doorbell.heard("o:*")  # type: ignore[union-attr]


def node_of(engine: Engine) -> Any:
    """The engine's node."""
    return engine._crew.node  # type: ignore[union-attr]


def bury(engine: Engine, table: Table) -> None:
    """Another node takes this one for dead, and may take over what it held. It does not know yet."""
    table.query("DELETE FROM {nodes} WHERE id = ?", node_of(engine).id)


def tell(engine: Engine) -> None:
    """The engine hears that its node was buried."""
    node_of(engine)._bury(node_of(engine).id)


class _Unsure(Node):
    is_sure = property(lambda node: False)  # type: ignore[assignment]


def doubt(engine: Engine) -> None:
    """The engine's lease is not good beyond doubt, as when it runs out while a handler runs."""
    node_of(engine).__class__ = _Unsure


async def until(is_so: Callable[[], bool]) -> None:
    """Lets everybody on the loop go on until it is so."""
    async with asyncio.timeout(SOON_S):
        while not is_so():  # noqa: ASYNC110 - there is nobody who would tell.
            await asyncio.sleep(0)
