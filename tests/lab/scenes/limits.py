"""Concurrency keys and rate limits."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import RateRow, Settlement
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, operation, promote, rare, reap, settle, take
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended, moved


class Slots(Scene):
    """A key with two slots: one that runs, two ready, two at its gate, one due; and a neighbour without a key."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        await self.store.limits.declare(NODE, {"k": 2}, [])
        for _ in range(6):
            await given.one(concurrency_key="k")
        await self.store.timers.promote(10)
        (self.it, second) = await given.taken(2)
        await self.store.claims.commit([ended(second, frees="k")])
        await self.store.limits.open(["k:k"])
        await given.one(concurrency_key="l")
        await self.store.timers.promote(10)
        rows = given.database.query("SELECT id FROM {instances} WHERE status = 'ready' AND concurrency_key = 'k'")
        blocked = given.database.query("SELECT id FROM {instances} WHERE blocked_on = 'k:k'")
        self.ready, self.blocked = str(rows[0][0]), str(blocked[0][0])
        given.database.poke(str(blocked[1][0]), status="ready", blocked_on=None)
        await given.one(concurrency_key="k")
        self.neighbour = await given.one(priority=-1)
        self.pauses = self.deeds("paused")

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    @operation
    async def take_one(self, who: Actor) -> Any:
        return await take(who, 1)

    @operation
    async def done(self, who: Actor) -> Any:
        return await settle(who, ended(self.it, frees="k"))

    @rare
    async def next(self, who: Actor) -> Any:
        return await settle(who, moved(self.it, frees="k"))

    @operation
    async def next_with_another_key(self, who: Actor) -> Any:
        return await settle(
            who,
            Settlement(
                self.it.id, self.it.epoch, "scheduled", 0, step="b", delay_s=0.0, concurrency_key="l", frees="k"
            ),
        )

    @rare
    async def open(self, who: Actor) -> Any:
        return await who.store.limits.open(["k:k", "k:l"])

    @operation
    async def sweep(self, who: Actor) -> Any:
        return await who.store.limits.sweep("", 10)

    @rare
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @operation
    async def declare(self, who: Actor) -> Any:
        return await who.store.limits.declare(who.node, {"k": 1}, [])

    @operation
    async def reap(self, who: Actor) -> Any:
        return await reap(who, NODE)

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.it.id)

    @operation
    async def stop_blocked(self, who: Actor) -> Any:
        return await cancel(who, self.blocked)

    @operation
    async def pause_ready(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.ready, self.pauses[who.number])

    @rare
    async def release(self, who: Actor) -> Any:
        return await who.store.claims.release([(self.it.id, self.it.epoch)])

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        """Where everybody who lets go of a slot opens its gate, nobody is left for the sweep."""
        if not set(names) <= {"take", "take_one", "done", "next", "next_with_another_key", "open", "sweep", "promote"}:
            return
        of_key = [row for row in rows["instances"] if row["concurrency_key"] == "k"]
        running, ready, blocked = (
            [row for row in of_key if row["status"] == status] for status in ("running", "ready", "blocked")
        )
        if len(running) < 2 and not ready and blocked:
            yield f"gate: {len(blocked)} wait, and a slot is free"


class Single(Scene):
    """Two keys with one slot each, free; of each two are ready, which happens when others are more urgent."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        for key in ("k", "l"):
            for priority in (0, -1):
                id = await given.one(concurrency_key=key, priority=priority)
                given.database.poke(id, status="ready")
        (self.first,) = (
            str(row[0])
            for row in given.database.query("SELECT id FROM {instances} WHERE priority = -1 AND concurrency_key = 'k'")
        )
        self.pauses = self.deeds("paused")

    @rare
    async def take(self, who: Actor) -> Any:
        return await take(who)

    @operation
    async def take_one(self, who: Actor) -> Any:
        return await take(who, 1)

    @operation
    async def take_two(self, who: Actor) -> Any:
        return await take(who, 2)

    @operation
    async def open(self, who: Actor) -> Any:
        return await who.store.limits.open(["k:l", "k:k"])

    @operation
    async def reap_me(self, who: Actor) -> Any:
        return await reap(who, "bob")

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.first)

    @operation
    async def pause(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.first, self.pauses[who.number])


class Rates(Scene):
    """Two rate limits with two tokens each: three of each are ready or wait."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        await self.store.limits.declare(NODE, {}, [RateRow("r", 2.0, 60.0, 2.0), RateRow("s", 2.0, 60.0, 2.0)])
        for rate in ("r", "s"):
            for _ in range(3):
                await given.one(rate_limit=rate)
        await self.store.timers.promote(10)
        (claim, *_) = await given.taken(1)
        self.it = claim
        await given.one(rate_limit="r", concurrency_key="k")

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    @rare
    async def take_one(self, who: Actor) -> Any:
        return await take(who, 1)

    @operation
    async def open(self, who: Actor) -> Any:
        return await who.store.limits.open(["r:s", "r:r"])

    @operation
    async def open_due(self, who: Actor) -> Any:
        return await who.store.limits.open_due(10)

    @operation
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @operation
    async def declare(self, who: Actor) -> Any:
        return await who.store.limits.declare(
            who.node, {}, [RateRow("s", 1.0, 60.0, 1.0), RateRow("r", 1.0, 60.0, 1.0)]
        )

    @operation
    async def prune(self, who: Actor) -> Any:
        return await who.store.limits.prune("", 10)

    @operation
    async def done(self, who: Actor) -> Any:
        return await settle(who, ended(self.it))

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        """The clock stands still: no token comes, beside those that there were."""
        for rate in ("r", "s"):
            run = {row["id"] for row in rows["instances"] if row["rate_limit"] == rate and row["status"] == "running"}
            run |= {self.it.id} if self.it.rate_limit == rate else set()
            if len(run) > 2:
                yield f"rate: {len(run)} of {rate!r} run on two tokens"
