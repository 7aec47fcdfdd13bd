"""Correlation keys."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import Redo
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, operation, rare, send, settle
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended, moved, parked, spawned


class Keyed(Scene):
    """A correlation key is held by one that runs; another that had it has failed; two more want it, and another key."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        self.old = await given.ended("failed", key="k")
        self.holder = await given.claim(key="k")
        self.rows = [given.new(key="k", queue="new") for _ in range(3)]
        self.pairs = [[given.new(key=key, queue="new") for key in ("k", "l")] for _ in range(3)]
        self.tagged = [given.new(key="l", queue="new", tags='{"a":"b"}') for _ in range(3)]
        self.keyed, self.starters = self.letters(key="k"), self.letters(key="k")
        self.both = [self.letters(key=key) for key in ("k", "l")]
        self.redos = self.deeds("retried")
        self.home = await given.claim()
        self.born = [given.new(key="k", queue="new"), given.new(key="l", queue="new")]

    @operation
    async def done(self, who: Actor) -> Any:
        return await settle(who, ended(self.holder))

    @rare
    async def next(self, who: Actor) -> Any:
        return await settle(who, moved(self.holder))

    @operation
    async def park(self, who: Actor) -> Any:
        return await settle(who, parked(self.holder, "go"))

    @operation
    async def add(self, who: Actor) -> Any:
        return await who.store.instances.add([self.rows[who.number]])

    @operation
    async def add_two(self, who: Actor) -> Any:
        return await who.store.instances.add(self.pairs[who.number][:: 1 if who.number else -1])

    @operation
    async def add_tagged(self, who: Actor) -> Any:
        return await who.store.instances.add([self.tagged[who.number]])

    @operation
    async def start_with(self, who: Actor) -> Any:
        return await who.store.instances.add_and_send(self.rows[who.number], self.starters[who.number])

    @operation
    async def spawn(self, who: Actor) -> Any:
        return await settle(who, spawned(self.home, self.born))

    @rare
    async def go_by_key(self, who: Actor) -> Any:
        return await send(who, self.keyed[who.number])

    @operation
    async def go_both(self, who: Actor) -> Any:
        return await send(who, *[each[who.number] for each in self.both][:: 1 if who.number else -1])

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.holder.id)

    @operation
    async def retry_old(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.old, Redo(), self.redos[who.number])

    @operation
    async def delete_old(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.old)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        known = {row["id"] for row in rows["instances"]}
        for name, result in zip(names, results, strict=True):
            if name == "start_with" and not isinstance(result, Exception):
                held, receipt = result
                if receipt.result != "delivered" or receipt.instance not in known:
                    yield f"signal that starts: it was {receipt.result}"
                elif not any(letter["id"] == receipt.id for letter in rows["signals"]):
                    yield "signal that starts: it is nowhere"
                if [each.holder for each in held] not in ([], [receipt.instance]):
                    yield "signal that starts: it went to another than the holder"
            if name.startswith("add") and not isinstance(result, Exception):
                place = names.index(name) if names.count(name) == 1 else None
                yield from (
                    f"key: {each.holder} is said to hold {each.key!r}" for each in result if each.holder not in known
                )
                if place is not None and name == "add" and not result and self.rows[place].id not in known:
                    yield "key: a row was said to be added, and is not there"
