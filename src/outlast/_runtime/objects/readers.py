"""Handlers that only read, and run in their callers' own tasks: they share an object; nothing else runs meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Readers:
    """How many read an object now."""

    __slots__ = ("_count", "_left")

    def __init__(self) -> None:
        self._count = 0
        self._left: asyncio.Event | None = None

    def __bool__(self) -> bool:
        return self._count > 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One more, within it."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            if self._left is not None and not self._count:
                self._left.set()

    async def gone(self) -> None:
        """Waits until nobody reads."""
        while self._count:
            self._left = self._left or asyncio.Event()
            self._left.clear()
            await self._left.wait()
        self._left = None
