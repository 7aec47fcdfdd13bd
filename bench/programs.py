"""The programs that are measured. They do nothing: what is left is the engine."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from outlast import job


@job
async def noop() -> None:
    """A job without arguments or result."""


@job
async def echo(word: str) -> str:
    """A job with both."""
    return word


BEGUN: Final[list[float]] = []
"""When each `tick` of this process began, on the loop's clock."""


@job(name="bench.tick")
async def tick() -> None:
    """A job that notes when it began."""
    BEGUN.append(asyncio.get_running_loop().time())


HELD: Final = threading.Event()
"""Set once `hold` runs in this process."""


@job(name="bench.hold")
async def hold() -> None:
    """A job that keeps its key until its process ends."""
    HELD.set()
    await asyncio.Event().wait()


@job(name="bench.nap")
async def nap() -> None:
    """A job of a millisecond."""
    await asyncio.sleep(0.001)
