"""What the objects' tests start from: a process whose local clock jumps, gates that hold a handler, and rows seen."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from outlast import Engine
from outlast._world import SystemWorld
from outlast.testing import assert_eventually
from tests.engine.given import SOON_S


class Ahead(SystemWorld):
    """A world whose monotonic clock, by which objects are idle, goes ahead when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


LONG = {"lease": 86_400.0, "max_poll_interval": 60.0}
"""A lease that outlasts every jump."""

Aging = Callable[..., Awaitable[tuple[Engine, Callable[[float], Awaitable[None]]]]]
"""Opens an engine; the second is `pass_(seconds)`: so much time passes, and idle objects are looked at."""


def residents(engine: Engine) -> int:
    """How many objects are in an engine's memory."""
    assert engine._crew is not None
    return engine._crew.keeper.resident_count


def is_resident(engine: Engine, ref: Any) -> bool:
    """Whether an object is in an engine's memory."""
    assert engine._crew is not None
    return (ref.outlast_kind.name, ref.id) in engine._crew.keeper.memory._residents


class Gate:
    """Holds whoever comes until it is opened, and tells when somebody has come."""

    def __init__(self) -> None:
        self.shut()

    async def hold(self) -> None:
        """Comes, and waits."""
        self._come.set()
        await self._open.wait()

    async def reached(self) -> None:
        """Waits until somebody has come."""
        async with asyncio.timeout(SOON_S):
            await self._come.wait()

    def open(self) -> None:
        """Lets everybody through."""
        self._open.set()

    def shut(self) -> None:
        """Holds again, on whatever loop."""
        self._open = asyncio.Event()
        self._come = asyncio.Event()


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """Waits until `check()` is true, looking each few milliseconds. Returns what it gave."""
    return await assert_eventually(check, timeout=SOON_S, interval=0.005)
