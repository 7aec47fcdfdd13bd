"""Workflows, what they call, and what is left when they have ended."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import Entry, Redo, Settlement
from outlast._store.post import CHILD
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, cancel, living, operation, rare, reap, send, settle
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.outcomes import ended


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
        self.to_child = self.letters(instance=self.child.id)

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

    @rare
    async def park_and_child_done(self, who: Actor) -> Any:
        return await settle(who, self._flow("waiting", step="workflow", awaits=self.news), ended(self.child))

    @rare
    async def go_flow_and_child(self, who: Actor) -> Any:
        return await send(who, self.gos[who.number], self.to_child[who.number])

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


class Crossed(Scene):
    """Two workflows run, each with a child that runs; a batch holds one's outcome and the end of the other's child."""

    async def prepare(self) -> None:
        given = self.given
        await self.begin(NODE, "bob", "cyd", "dan")
        self.flows = await given.claimed(2, step="workflow")
        born = [given.new(parent=flow.id, round=1, child=0) for flow in self.flows]
        starts = [
            Settlement(flow.id, flow.epoch, "running", 0, commits=0, started=[child])
            for flow, child in zip(self.flows, born, strict=True)
        ]
        assert (await self.store.claims.commit(starts)).stale == []
        claims = {claim.id: claim for claim in await given.taken()}
        self.children = [claims[child.id] for child in born]

    async def _write(self, who: Actor, flow: int, child: int) -> Any:
        noted = [Entry("step#1", "step", "done", 2, value="1")]
        record = Settlement(self.flows[flow].id, self.flows[flow].epoch, "running", 0, commits=1, entries=noted)
        return await settle(who, record, ended(self.children[child]))

    @operation
    async def first_and_others_child(self, who: Actor) -> Any:
        return await self._write(who, 0, 1)

    @operation
    async def second_and_others_child(self, who: Actor) -> Any:
        return await self._write(who, 1, 0)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        told = {(letter["instance"], letter["name"]) for letter in rows["signals"]}
        for flow, child in zip(self.flows, self.children, strict=True):
            status = next(row["status"] for row in rows["instances"] if row["id"] == child.id)
            if status == "done" and (flow.id, f"{CHILD}{child.id}") not in told:
                yield f"news: child {child.id[-6:]} is done, and its workflow was not told"
