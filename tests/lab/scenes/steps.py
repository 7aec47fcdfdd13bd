"""Instances that run, wait, are ready or will be."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import Redo
from tests.lab.check import Rows
from tests.lab.scenes.scene import (
    GRACE_S,
    Scene,
    cancel,
    kept,
    living,
    operation,
    promote,
    rare,
    reap,
    reclaim,
    send,
    settle,
    take,
)
from tests.lab.stepping import Actor
from tests.store.given import KNOWN, NODE, settlement
from tests.store.outcomes import again, ended, moved, parked, spawned


class Running(Scene):
    """A child runs, past its deadline, with a letter; its parent waits for it and for a sister."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        home = await given.claim()
        born = [given.new(timeout_s=1.0, key="k"), given.new(timeout_s=600.0)]
        await self.store.claims.commit([spawned(home, born)])
        claims = {claim.id: claim for claim in await self.store.claims.take("default", NODE, KNOWN, 10, GRACE_S)}
        self.it, self.sister = (claims[row.id] for row in born)
        self.home = home.id
        (self.hint,) = self.letters(1, name="hint", instance=self.it.id)
        await self.store.signals.send([self.hint])
        given.world.advance(10.0)
        self.gos = self.letters(instance=self.it.id)
        self.keyed = self.letters(key="k")
        self.born = [given.new(), given.new()]
        self.rows = [given.new(key="k") for _ in range(3)]
        self.pauses, self.redos = self.deeds("paused"), self.deeds("retried")

    @operation
    async def done(self, who: Actor) -> Any:
        return await settle(who, ended(self.it))

    @rare
    async def failed(self, who: Actor) -> Any:
        return await settle(who, ended(self.it, "failed"))

    @rare
    async def once_more(self, who: Actor) -> Any:
        return await settle(who, again(self.it))

    @operation
    async def next(self, who: Actor) -> Any:
        return await settle(who, moved(self.it, consumed=[self.hint.id]))

    @rare
    async def keep(self, who: Actor) -> Any:
        return await settle(who, kept(self.it))

    @operation
    async def park(self, who: Actor) -> Any:
        return await settle(who, parked(self.it, "go", consumed=[self.hint.id]))

    @operation
    async def park_on_hint(self, who: Actor) -> Any:
        return await settle(who, parked(self.it, "go", "hint"))

    @operation
    async def spawn(self, who: Actor) -> Any:
        return await settle(who, spawned(self.it, self.born))

    @operation
    async def sister_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.sister))

    @rare
    async def both_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.sister), ended(self.it))

    @operation
    async def go(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number])

    @rare
    async def go_by_key(self, who: Actor) -> Any:
        return await send(who, self.keyed[who.number])

    @operation
    async def add(self, who: Actor) -> Any:
        return await who.store.instances.add([self.rows[who.number]])

    @rare
    async def report(self, who: Actor) -> Any:
        return await who.store.claims.report([(self.it.id, self.it.epoch, 0.5, "half")])

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.it.id)

    @operation
    async def stop_all(self, who: Actor) -> Any:
        return await cancel(who, self.home, tree=True)

    @operation
    async def pause(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.home, self.pauses[who.number], tree=True)

    @operation
    async def reclaim(self, who: Actor) -> Any:
        return await reclaim(who)

    @rare
    async def reap(self, who: Actor) -> Any:
        return await reap(who, NODE)

    @operation
    async def renew(self, who: Actor) -> Any:
        """A sign of life of the node that holds the claims. Its own lane has its own loop, and cannot be stepped."""
        desk = who.store.leases._desk
        return await desk.run("renew", node=NODE, now=desk.now())

    @operation
    async def take_over(self, who: Actor) -> Any:
        await reap(who, NODE)
        return await take(who)

    @operation
    async def release(self, who: Actor) -> Any:
        return await who.store.claims.release([(self.it.id, self.it.epoch)])

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.it.id)

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        unread = {letter["id"] for letter in rows["signals"] if letter["consumed_at"] is None}
        used = any(
            entry["what"] == "instances"
            and entry["after"]["id"] == self.it.id
            and entry["after"]["step"] in ("other", "next")
            for entry in rows["history"]
        )
        known = {row["id"] for row in rows["instances"]}
        if self.it.id in known and self.hint.id not in unread and not used:
            yield "signal: the hint was used up, and no outcome did it"
        if "stop_all" in names:
            yield from (f"tree: {id[-6:]} lives, and its tree was cancelled" for id in living(rows, self.home))


class Waiting(Scene):
    """An instance waits for a signal until a time that has come; it has a letter of another name, and a key."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        claim = await given.claim(key="k")
        self.it = claim.id
        await self.store.signals.send(self.letters(1, name="old", instance=self.it))
        await self.store.claims.commit([parked(claim, "go", wake_s=5.0)])
        given.world.advance(10.0)
        self.gos, self.keyed = self.letters(instance=self.it), self.letters(key="k")
        self.others = self.letters(name="other", instance=self.it)
        self.once = self.letters(1, instance=self.it)
        self.deduped = self.letters(instance=self.it, dedup_key="d")
        self.rows = [given.new(key="k", queue="new") for _ in range(3)]
        self.starters = self.letters(key="k")
        self.pauses, self.resumes = self.deeds("paused"), self.deeds("resumed")

    @operation
    async def go(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number])

    @operation
    async def go_again(self, who: Actor) -> Any:
        return await send(who, self.once[0])

    @operation
    async def go_deduped(self, who: Actor) -> Any:
        return await send(who, self.deduped[who.number])

    @rare
    async def go_by_key(self, who: Actor) -> Any:
        return await send(who, self.keyed[who.number])

    @operation
    async def other(self, who: Actor) -> Any:
        return await send(who, self.others[who.number])

    @operation
    async def start_with(self, who: Actor) -> Any:
        return await who.store.instances.add_and_send(self.rows[who.number], self.starters[who.number])

    @operation
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @operation
    async def hurry(self, who: Actor) -> Any:
        return await who.store.timers.hurry([self.it])

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.it)

    @operation
    async def pause(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.it, self.pauses[who.number])

    @rare
    async def resume(self, who: Actor) -> Any:
        return await who.store.acts.resume(self.it, self.resumes[who.number])

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.it)

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        stored = [letter for letter in rows["signals"] if letter["dedup_key"] == "d"]
        if len(stored) > 1:
            yield f"signal: {len(stored)} with one dedup key"
        wakes = [
            entry
            for entry in rows["history"]
            if entry["what"] == "instances"
            and entry["before"]["status"] == "waiting"
            and entry["after"]["status"] in ("ready", "scheduled")
        ]
        if len(wakes) > 1:
            yield f"wake: it was woken {len(wakes)} times"


class Due(Scene):
    """One is ready, one is scheduled and due, one is paused, one holds a claim; all are claimed from one queue."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        running = await given.claim()
        self.failed = await given.ended("failed", key="k")
        self.ready, self.fair = await given.one(), await given.one(fair_key="f")
        self.due = await given.one(delay_s=5.0)
        self.held = await given.one()
        await self.store.acts.pause(self.held, self.deeds("paused")[0])
        self.running = running
        given.world.advance(10.0)
        self.pauses, self.resumes, self.redos = self.deeds("paused"), self.deeds("resumed"), self.deeds("retried")
        self.gos = [self.letters(instance=id) for id in (self.ready, self.due)]
        self.rows = [given.new(key="k") for _ in range(3)]

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    @operation
    async def take_one_fair(self, who: Actor) -> Any:
        return await take(who, 1, fair_after="")

    @operation
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @operation
    async def go(self, who: Actor) -> Any:
        ready, due = self.gos
        return await send(who, *((ready[who.number], due[who.number])[:: 1 if who.number else -1]))

    @operation
    async def pause(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.ready, self.pauses[who.number])

    @rare
    async def pause_due(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.due, self.pauses[who.number])

    @operation
    async def resume(self, who: Actor) -> Any:
        return await who.store.acts.resume(self.held, self.resumes[who.number])

    @rare
    async def resume_ready(self, who: Actor) -> Any:
        return await who.store.acts.resume(self.ready, self.resumes[who.number])

    @operation
    async def stop(self, who: Actor) -> Any:
        return await cancel(who, self.ready)

    @rare
    async def stop_due(self, who: Actor) -> Any:
        return await cancel(who, self.due)

    @operation
    async def stop_queue(self, who: Actor) -> Any:
        return await who.store.queues.pause("default")

    @rare
    async def hurry(self, who: Actor) -> Any:
        return await who.store.timers.hurry([self.due])

    @operation
    async def retry(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.failed, Redo(), self.redos[who.number])

    @operation
    async def add(self, who: Actor) -> Any:
        return await who.store.instances.add([self.rows[who.number]])

    @operation
    async def once_more(self, who: Actor) -> Any:
        return await settle(who, settlement(self.running, "ready"))

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.due)
