"""Objects on each database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import Engine
from tests.engine.conftest import engine, engines, table, url
from tests.engine.given import Engines
from tests.objects.gates import LONG, Aging, Ahead

__all__ = ["engine", "engines", "table", "url"]


@pytest.fixture
async def aging(engines: Engines) -> AsyncIterator[Aging]:
    """Opens engines in which time passes when the test says so."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> tuple[Engine, Callable[[float], Awaitable[None]]]:
            engine, world = engines.new(**LONG | options), Ahead()
            engine._inhabit(engine.config, world)
            await stack.enter_async_context(engine)

            async def passes(seconds: float) -> None:
                world.ahead_s += seconds
                assert engine._crew is not None
                await engine._crew.keeper.beat()

            return engine, passes

        yield open_one
