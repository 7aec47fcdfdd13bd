"""Hints between processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from outlast._store.contract import Store
from tests.store.conftest import OpenStore
from tests.store.given import Given


class Ear:
    """Collects what a bell rings."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._moved = asyncio.Event()

    def __call__(self, message: str) -> None:
        self.heard.append(message)
        self._moved.set()

    async def until(self, wanted: Callable[[list[str]], object]) -> None:
        """Waits until what was heard is as wanted."""
        async with asyncio.timeout(10):
            while not wanted(self.heard):
                self._moved.clear()
                await self._moved.wait()


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[Ear]:
    """An ear at a store's bell, which has heard that it listens."""
    ear = Ear()
    task = asyncio.ensure_future(store.bell.listen(ear))
    try:
        # Whoever begins to listen may have missed something, and is told so.
        await ear.until(lambda heard: "*" in heard)
        ear.heard.clear()
        yield ear
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_others_hear_that_work_has_arrived(given: Given, store: Store, open_store: OpenStore) -> None:
    other = await open_store()
    async with listening(other) as ear:
        await given.one()
        store.bell.ring("q:default")

        await ear.until(lambda heard: {"*", "q:default"} & set(heard))


async def test_a_burst_is_heard_whole_or_as_anything(given: Given, store: Store, open_store: OpenStore) -> None:
    other = await open_store()
    messages = {f"q:{'long name ' * 10}{number}" for number in range(500)}
    async with listening(other) as ear:
        await given.one()
        for message in messages:
            store.bell.ring(message)

        await ear.until(lambda heard: "*" in heard or messages <= set(heard))


async def test_several_may_listen(given: Given, store: Store, open_store: OpenStore) -> None:
    async with listening(await open_store()) as one, listening(await open_store()) as two:
        await given.one()
        store.bell.ring("t")

        await one.until(lambda heard: heard)
        await two.until(lambda heard: heard)


async def test_ringing_needs_no_listener(store: Store) -> None:
    store.bell.ring("q:default")


async def test_closing_a_store_ends_its_listening(open_store: OpenStore) -> None:
    store = await open_store()
    async with listening(store):
        await store.close()
