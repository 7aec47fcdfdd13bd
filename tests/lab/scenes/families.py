"""Parents, children, workflows and what they call."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import Claim, Entry, Redo, Settlement
from outlast._store.post import CHILD
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, living, operation, promote, rare, reap, send, settle, take
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended, moved, parked, spawned


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


class Called(Scene):
    """A workflow runs, and is about to wait for a child that it has called and an errand; both run."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        flow = await given.claim(step="workflow")
        child, errand = (
            given.new(parent=flow.id, round=1, child=0),
            given.new(parent=flow.id, round=2, child=0, step="~errand"),
        )
        noted = Entry("child#1", "child", "waiting", 1, value='"x"')
        start = Settlement(flow.id, flow.epoch, "running", 0, commits=0, entries=[noted], started=[child, errand])
        assert (await self.store.claims.commit([start])).stale == []
        claims = {claim.id: claim for claim in await given.taken()}
        self.child, self.errand = claims[child.id], claims[errand.id]
        self.flow = flow
        self.news = [f"{CHILD}{child.id}", f"{CHILD}{errand.id}"]
        self.more = given.new(parent=flow.id, round=2, child=1, step="~errand")
        self.pauses, self.redos = self.deeds("paused"), self.deeds("retried")
        self.resumes = self.deeds("resumed")
        self.gos = self.letters(instance=flow.id)

    def _flow(self, status: str, **columns: Any) -> Settlement:
        return Settlement(self.flow.id, self.flow.epoch, status, 0, commits=1, **columns)

    @operation
    async def park(self, who: Actor) -> Any:
        return await settle(who, self._flow("waiting", step="workflow", awaits=self.news))

    @operation
    async def record(self, who: Actor) -> Any:
        return await settle(
            who, self._flow("running", entries=[Entry("step#1", "step", "done", 2, value=f'"{who.node}"')])
        )

    @rare
    async def record_and_send(self, who: Actor) -> Any:
        entry = Entry("far#1", "step", "waiting", 3)
        return await settle(who, self._flow("running", entries=[entry], started=[self.more]))

    @operation
    async def park_with_errand(self, who: Actor) -> Any:
        return await settle(who, self._flow("waiting", step="workflow", awaits=self.news, started=[self.more]))

    @operation
    async def flow_done(self, who: Actor) -> Any:
        return await settle(who, self._flow("done", result="1", retention_s=60.0))

    @operation
    async def child_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.child))

    @operation
    async def errand_failed(self, who: Actor) -> Any:
        return await settle(who, ended(self.errand, "failed"))

    @operation
    async def both_done(self, who: Actor) -> Any:
        return await settle(who, ended(self.errand), ended(self.child))

    @operation
    async def stop_child(self, who: Actor) -> Any:
        return await cancel(who, self.child.id)

    @operation
    async def stop_all(self, who: Actor) -> Any:
        return await cancel(who, self.flow.id, tree=True)

    @rare
    async def stop_flow(self, who: Actor) -> Any:
        return await cancel(who, self.flow.id)

    @operation
    async def pause(self, who: Actor) -> Any:
        return await who.store.acts.pause(self.flow.id, self.pauses[who.number])

    @rare
    async def resume(self, who: Actor) -> Any:
        return await who.store.acts.resume(self.flow.id, self.resumes[who.number])

    @rare
    async def reap(self, who: Actor) -> Any:
        return await reap(who, NODE)

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.flow.id)

    @rare
    async def go(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number])

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        if "stop_all" in names and "delete" not in names:
            yield from (f"tree: {id[-6:]} lives, and its tree was cancelled" for id in living(rows, self.flow.id))
        flow = next((row for row in rows["instances"] if row["id"] == self.flow.id), None)
        if flow is None or flow["finished_at"] is not None:
            return
        heard = {letter["name"] for letter in rows["signals"] if letter["instance"] == self.flow.id}
        for row in rows["instances"]:
            news = f"{CHILD}{row['id']}"
            if row["id"] in (self.child.id, self.errand.id) and row["finished_at"] is not None and news not in heard:
                yield f"news: child {row['id'][-6:]} is {row['status']}, and its workflow was not told"


class Ended(Scene):
    """Ended instances past their retention: one with a letter and a key, and a workflow with an errand."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        claim = await given.claim(key="k", tags='{"a":"b"}')
        await self.store.signals.send(self.letters(1, instance=claim.id))
        await self.store.claims.commit([ended(claim, "failed", retention_s=1.0)])
        self.it = claim.id
        flow = await given.claim(step="workflow")
        errand = given.new(parent=flow.id, round=2, child=0, step="~errand")
        entries = [Entry("step#1", "step", "done", 1, value="1")]
        started = Settlement(flow.id, flow.epoch, "running", 0, commits=0, entries=entries, started=[errand])
        await self.store.claims.commit([started])
        (sent,) = await given.taken()
        await self.store.claims.commit([ended(sent, retention_s=1.0)])
        await self.store.claims.commit(
            [Settlement(flow.id, flow.epoch, "failed", 0, commits=1, error='{"type":"X"}', retention_s=1.0)]
        )
        self.flow, self.errand = flow.id, errand.id
        given.world.advance(10.0)
        self.gos, self.redos = self.letters(instance=self.it), self.deeds("retried")
        self.keyed = self.letters(key="k")
        self.rows = [given.new(key="k") for _ in range(3)]
        self.starters = self.letters(key="k")

    @operation
    async def prune(self, who: Actor) -> Any:
        return await who.store.upkeep.prune(10)

    @operation
    async def remove(self, who: Actor) -> Any:
        return await who.store.instances.remove([self.it, self.flow])

    @operation
    async def delete(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.it)

    @rare
    async def delete_flow(self, who: Actor) -> Any:
        return await who.store.instances.delete(self.flow)

    @operation
    async def retry(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.it, Redo(), self.redos[who.number])

    @operation
    async def retry_flow(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.flow, Redo(forget=["step#1"]), self.redos[who.number])

    @operation
    async def retry_errand(self, who: Actor) -> Any:
        return await who.store.acts.retry(self.errand, Redo(), self.redos[who.number])

    @operation
    async def go(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number])

    @rare
    async def go_by_key(self, who: Actor) -> Any:
        return await send(who, self.keyed[who.number])

    @operation
    async def add(self, who: Actor) -> Any:
        return await who.store.instances.add([self.rows[who.number]])

    @operation
    async def start_with(self, who: Actor) -> Any:
        return await who.store.instances.add_and_send(self.rows[who.number], self.starters[who.number])

    @operation
    async def retag(self, who: Actor) -> Any:
        return await who.store.instances.retag(self.it, {"a": None, "c": who.node})


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
