"""Objects: who owns them, what they write, their alarms and calls."""

from collections.abc import Iterator, Sequence
from typing import Any

from outlast._model import AlarmMove, AlarmRow, Answer, NewCall
from tests.lab.answers import Made, Saved
from tests.lab.check import Rows
from tests.lab.scenes.scene import Scene, operation, rare
from tests.lab.stepping import Actor
from tests.store.given import NODE
from tests.store.owners import TYPE, Owners, alarm, commit, wanted


async def save(who: Actor, *batch: Any) -> Saved:
    """Writes commits of the node that made the scene."""
    return Saved(NODE, batch, await who.store.objects.save(NODE, batch))


async def activate(who: Actor, *ids: str) -> Made:
    """Owns objects."""
    return Made(who.node, await who.store.objects.activate(who.node, [wanted(id) for id in ids]))


async def bury(who: Actor, node: str) -> None:
    """What a reaper does to a node that is dead."""
    for beat in await who.store.leases.beats():
        if beat.node == node:
            await who.store.leases.bury(node, beat.beat)


class Owned(Scene):
    """Two objects of a node, one with an alarm that rings and a call that waits; a third is nobody's."""

    async def prepare(self) -> None:
        owners = Owners(self.given)
        await self.begin("bob", "cyd", "dan")
        self.one, self.two, free = await owners.owned("1", "2", "3")
        await self.store.objects.release(NODE, [(TYPE, "3", free.epoch)])
        await self.store.alarms.set([alarm(self.one)])
        self.call = owners.call("1", sender=NODE, key="same")
        self.plain = owners.call("1", sender=NODE)
        await self.store.calls.post([self.call, self.plain])
        self.calls = [owners.call("2", sender=NODE, key="new") for _ in range(3)]
        self.crossed = [[owners.call(id, sender=NODE, key="x") for id in ("1", "2")] for _ in range(3)]
        self.sent = owners.call("2", key="sent")
        self.ring = AlarmMove("ring", "r1")

    @operation
    async def save(self, who: Actor) -> Any:
        return await save(who, commit(self.one))

    @rare
    async def save_both(self, who: Actor) -> Any:
        return await save(who, *[commit(self.one), commit(self.two)][:: 1 if who.number else -1])

    @operation
    async def answer(self, who: Actor) -> Any:
        answers = [Answer(call.call, "1", None) for call in (self.call, self.plain)]
        return await save(who, commit(self.one, answers=answers, sends=[self.sent]))

    @rare
    async def rung(self, who: Actor) -> Any:
        return await save(who, commit(self.one, moved=[self.ring]))

    @operation
    async def rung_and_set(self, who: Actor) -> Any:
        again = alarm(self.one, revision="r2", delay_s=60.0)
        return await save(who, commit(self.one, moved=[self.ring], alarms=[again]))

    @operation
    async def delete(self, who: Actor) -> Any:
        return await save(who, commit(self.one, deleted=True))

    @operation
    async def give_up(self, who: Actor) -> Any:
        return await save(who, commit(self.one, released=True))

    @rare
    async def release(self, who: Actor) -> Any:
        return await who.store.objects.release(NODE, [(TYPE, "1", self.one.epoch)])

    @operation
    async def release_all(self, who: Actor) -> Any:
        return await who.store.objects.release(NODE, None)

    @operation
    async def activate(self, who: Actor) -> Any:
        return await activate(who, "1", "2", "3", "4")

    @operation
    async def bury(self, who: Actor) -> Any:
        return await bury(who, NODE)

    @operation
    async def take_over(self, who: Actor) -> Any:
        await bury(who, NODE)
        return await activate(who, "2", "1")

    @rare
    async def come_back(self, who: Actor) -> Any:
        return Made(NODE, await who.store.objects.activate(NODE, [wanted("1")]))

    @operation
    async def set(self, who: Actor) -> Any:
        return await who.store.alarms.set(
            [
                AlarmRow(TYPE, "1", name, f"set by {who.node}", delay_s=60.0)
                for name in ("ring", "a")[:: 1 if who.number else -1]
            ]
        )

    @operation
    async def cancel(self, who: Actor) -> Any:
        return await who.store.alarms.cancel(TYPE, "1", None)

    @operation
    async def post(self, who: Actor) -> Any:
        return await who.store.calls.post([self.calls[who.number]])

    @rare
    async def post_crossed(self, who: Actor) -> Any:
        return await who.store.calls.post(self.crossed[who.number][:: 1 if who.number else -1])

    @rare
    async def drop(self, who: Actor) -> Any:
        return await who.store.calls.drop([self.plain.call, self.call.call])

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        saves = {name for name, result in zip(names, results, strict=True) if isinstance(result, Saved)}
        if len(saves) < 2:  # two commits with one number are one commit that is repeated: they do not differ.
            yield from self._parts(rows, names, results)
        keyed: dict[tuple[str, str], int] = {}
        for row in rows["calls"]:
            if row["key"] is not None:
                keyed[row["id"], row["key"]] = keyed.get((row["id"], row["key"]), 0) + 1
        yield from (f"call: {count} of object {id} with key {key!r}" for (id, key), count in keyed.items() if count > 1)
        posted = [
            result[0].call
            for name, result in zip(names, results, strict=True)
            if name == "post" and isinstance(result, list)
        ]
        if len(set(posted)) > 1:
            yield "call: two were told different ids of the call with their key"

    def _parts(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        """What a commit says beside the state is written if it is, and only then."""
        saves = [
            (name, not result.lost) for name, result in zip(names, results, strict=True) if isinstance(result, Saved)
        ]
        written = {name for name, is_written in saves if is_written}
        lost = {name for name, _ in saves} - written
        others = set(names) - lost
        ring = any((row["id"], row["name"]) == ("1", "ring") for row in rows["alarms"])
        if "set" in names and not ring and not {"cancel", "delete"} & others:
            yield "alarm: it was set, and is gone"
        if "rung_and_set" in written and not ring and "cancel" not in names:
            yield "alarm: it was set while it rang, and is gone"
        if not ring and not {"rung", "delete", "cancel"} & others:
            yield "alarm: nobody who owns its object finished it, and it is gone"
        answered = any(row["call"] == self.call.call and row["answered_at"] is not None for row in rows["calls"])
        if answered != ("answer" in written):
            yield f"call: it is {'' if answered else 'not '}answered"
        sent = any(row["call"] == self.sent.call for row in rows["calls"])
        if sent != ("answer" in written):
            yield f"call: the one that goes out with it is {'' if sent else 'not '}there"


class Expired(Scene):
    """An object past its time that nobody owns, one that a dead node owns, one that was deleted."""

    async def prepare(self) -> None:
        owners = Owners(self.given)
        await self.begin("bob", "cyd", "dan")
        one, two, three = await owners.owned("1", "2", "3")
        await owners.saved(
            commit(one, expires_s=1.0, released=True), commit(two, expires_s=1.0), commit(three, deleted=True)
        )
        self.two, self.three = two._replace(commits=1), three
        await self.store.leases.retire(NODE)
        self.given.world.advance(400.0)
        self.calls: list[NewCall] = [owners.call("1", sender="bob") for _ in range(3)]

    @operation
    async def prune(self, who: Actor) -> Any:
        return await who.store.objects.prune(10)

    @operation
    async def activate(self, who: Actor) -> Any:
        return await activate(who, "3", "2", "1")

    @operation
    async def activate_one(self, who: Actor) -> Any:
        return await activate(who, "2")

    @operation
    async def late(self, who: Actor) -> Any:
        return await save(who, commit(self.two))

    @operation
    async def revive(self, who: Actor) -> Any:
        """The owner's row is there again: a node that had not registered yet when it was looked for."""
        return await who.store.leases.register(NODE, "host", 1, 30.0)

    @operation
    async def set(self, who: Actor) -> Any:
        return await who.store.alarms.set([AlarmRow(TYPE, "1", "ring", who.node, delay_s=60.0)])

    @operation
    async def post(self, who: Actor) -> Any:
        return await who.store.calls.post([self.calls[who.number]])

    @operation
    async def release(self, who: Actor) -> Any:
        return await who.store.objects.release(NODE, None)

    @rare
    async def prune_calls(self, who: Actor) -> Any:
        return await who.store.calls.prune(10)

    def verify(self, rows: Rows, names: Sequence[str], results: Sequence[Any]) -> Iterator[str]:
        there = {row["id"] for row in rows["objects"]}
        for result in results:
            if isinstance(result, Made):
                lost = {each.id for each in result.activated.owned} - there
                yield from (f"owner: {result.node} was given object {id}, which is gone" for id in sorted(lost))
