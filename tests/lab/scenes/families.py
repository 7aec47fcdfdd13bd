"""Parents and children."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import Claim, Entry, Redo, Settlement
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, living, operation, promote, rare, reap, send, settle, take
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended, spawned


class Family(Scene):
    """A parent waits, until a time that has come, for four children: two run, one has failed, one is ready.

    A child of an earlier round, which nobody waits for, still runs.
    """

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        home = await given.claim()
        early = [given.new() for _ in range(2)]
        await self.store.claims.commit([spawned(home, early, need=1)])
        first, self.late = await given.taken()
        await self.store.claims.commit([ended(first)])
        (home,) = await given.taken()
        born = [given.new() for _ in range(4)]
        await self.store.claims.commit([spawned(home, born, wake_s=5.0)])
        self.home = home.id
        claims = {claim.id: claim for claim in await given.taken(4)}
        self.one, self.two, failed, ready = (claims[row.id] for row in born)
        await self.store.claims.commit([ended(failed, "failed", retention_s=1.0)])
        await self.store.claims.release([(ready.id, ready.epoch)])
        self.failed, self.ready = failed.id, ready.id
        given.world.advance(10.0)
        self.redos, self.pauses = self.deeds("retried"), self.deeds("paused")
        self.gos = self.letters(instance=self.home)
        self.to_one = self.letters(instance=self.one.id)

    @rare
    async def go_home_and_one(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number], self.to_one[who.number])

    @operation
    async def one_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.one))

    @operation
    async def two_failed(self, who: Actor) -> Any:
        return await settle(who, ended(self.two, "failed"))

    @operation
    async def both_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.two), ended(self.one))

    @operation
    async def late_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.late))

    @operation
    async def stop_one(self, who: Actor) -> Any:
        return await cancel(who, self.one.id)

    @rare
    async def stop_ready(self, who: Actor) -> Any:
        return await cancel(who, self.ready)

    @operation
    async def stop_all(self, who: Actor) -> Any:
        return await cancel(who, self.home, tree=True)

    @rare
    async def stop_home(self, who: Actor) -> Any:
        return await cancel(who, self.home)

    @operation
    async def retry_failed(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.failed, Redo(), self.redos[who.number])

    @operation
    async def delete_ready(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.ready)

    @rare
    async def delete_home(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.home)

    @operation
    async def promote(self, who: Actor) -> Any:
        return await promote(who)

    @rare
    async def go(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number])

    @operation
    async def pause_all(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.home, self.pauses[who.number], tree=True)

    @rare
    async def reap(self, who: Actor) -> Any:
        return await reap(who, NODE)

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    @operation
    async def prune(self, who: Actor) -> Any:
        return await who.store.upkeep.prune(10)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        home = next((row for row in rows["instances"] if row["id"] == self.home), None)
        left = [
            row
            for row in rows["instances"]
            if row["parent"] == self.home and row["round"] == 2 and row["finished_at"] is None
        ]
        given_up = {"promote", "stop_all", "stop_home", "retry_failed"} & set(names)
        if home is not None and home["status"] != "waiting" and left and not given_up:
            yield f"barrier: the parent is {home['status']}, and {len(left)} of its children have not ended"
        if home is not None and home["status"] == "cancelled" and "stop_all" in names and "retry_failed" not in names:
            yield from (f"tree: child {row['id'][-6:]} is {row['status']} after its tree was cancelled" for row in left)


class Cousins(Scene):
    """Two parents, each with two running children: batches that end children of both."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        self.homes: list[str] = []
        self.children: list[list[Claim]] = []
        for _ in range(2):
            (home,) = await given.claimed()
            await self.store.claims.commit([spawned(home, [given.new() for _ in range(2)])])
            self.homes.append(home.id)
            self.children.append(await given.taken())
        self.gos = [self.letters(instance=home) for home in self.homes]

    def _batch(self, *places: int) -> list[Settlement]:
        return [ended(self.children[place % 2][place // 2]) for place in places]

    @operation
    async def first_of_both(self, who: Actor) -> Any:
        return await settle(who, *self._batch(0, 1))

    @operation
    async def second_of_both(self, who: Actor) -> Any:
        return await settle(who, *self._batch(3, 2))

    @operation
    async def crossed(self, who: Actor) -> Any:
        return await settle(who, *self._batch(2, 1))

    @operation
    async def all_done(self, who: Actor) -> Any:
        return await settle(who, *self._batch(3, 2, 1, 0))

    @operation
    async def all_record(self, who: Actor) -> Any:
        entry = Entry("step#1", "step", "done", 1, value="1")
        claims = [self.children[place % 2][place // 2] for place in (3, 0, 2, 1)]
        return await settle(
            who, *[Settlement(claim.id, claim.epoch, "running", 0, commits=0, entries=[entry]) for claim in claims]
        )

    @operation
    async def stop_first(self, who: Actor) -> Any:
        return await cancel(who, self.homes[0], tree=True)

    @rare
    async def stop_second(self, who: Actor) -> Any:
        return await cancel(who, self.homes[1], tree=True)

    @operation
    async def go_both(self, who: Actor) -> Any:
        return await send(who, *(each[who.number] for each in self.gos))

    @operation
    async def go_both_crossed(self, who: Actor) -> Any:
        return await send(who, *(each[who.number] for each in reversed(self.gos)))

    @operation
    async def take(self, who: Actor) -> Any:
        return await take(who)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        for home in self.homes:
            status = next(row["status"] for row in rows["instances"] if row["id"] == home)
            left = set(living(rows, home)) - {home}
            if status in ("ready", "running") and left:
                yield f"barrier: {home[-6:]} is {status}, and {len(left)} of its children have not ended"
            if status == "cancelled" and left:
                yield f"tree: {len(left)} children of {home[-6:]} live, and their tree was cancelled"
