"""Test files of other people's projects."""

_SHOP = """
from outlast import Await, Done, Machine, hours, job, step
from outlast.testing import *

@job
async def greet(name: str) -> str:
    return f"hello {name}"

class Order(Machine):
    @step
    async def start(self, ctx):
        return Await("paid", then=self.ship, timeout=hours(1))

    @step
    async def ship(self, ctx):
        return Done(len(ctx.awaited))
"""

STRICT = f"""
import pytest
pytestmark = pytest.mark.asyncio
{_SHOP}
async def test_job(outlast_engine):
    handle = await outlast_engine.start(greet.new(name="ann"))
    assert (await drain(outlast_engine)).done == 1
    assert await assert_done(outlast_engine, handle) == "hello ann"

async def test_nothing_is_left_of_the_other_tests(outlast_engine):
    assert await outlast_engine.list() == []

async def test_machine(outlast_engine, outlast_clock):
    await outlast_engine.start(Order(), correlation_key="order")
    await drain(outlast_engine)
    await assert_awaiting(outlast_engine, "order", "paid")
    outlast_clock.jump(hours(1))
    await drain(outlast_engine)
    await assert_done(outlast_engine, "order", 0)
"""

WORKER = f"""
import pytest
{_SHOP}
@pytest.fixture
def outlast_settings():
    return {{"queues": {{"mail": 2}}}}

@pytest.mark.asyncio
async def test_worker(outlast_worker):
    handle = await outlast_worker.start(greet.new(name="ann"), queue="mail")
    assert await handle.result(30) == "hello ann"
"""

ANYIO = f"""
import pytest
{_SHOP}
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_job(outlast_engine):
    handle = await outlast_engine.start(greet.new(name="ann"))
    await drain(outlast_engine)
    await assert_done(outlast_engine, handle, "hello ann")
"""

NO_LOOP = f"""
import asyncio
{_SHOP}
def test_without_a_plugin_for_coroutines():
    async def shop():
        async with by_hand() as engine:
            handle = await engine.start(greet.new(name="ann"))
            await drain(engine)
            return await assert_done(engine, handle)
    assert asyncio.run(shop()) == "hello ann"
"""

CLASHING = f"""
import pytest
{_SHOP}
@pytest.mark.asyncio
async def test_job(outlast_engine):
    handle = await outlast_engine.start(Order())
    await drain(outlast_engine)
    await assert_done(outlast_engine, handle)
"""

UNUSED = """
import sys

def test_nothing():
    assert "pytest_outlast" in sys.modules
    assert "outlast" not in sys.modules
"""
