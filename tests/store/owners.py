"""Objects, commits, calls and alarms for the store's tests, made the short way."""

from typing import Any

from outlast._model import AlarmRow, NewCall, ObjectCommit, ObjectKey, Owned, Wanted
from outlast._store.contract import Store
from tests.store.given import NODE, Given

BOB = "bob"
TYPE = "cart"


def wanted(id: str = "1", type: str = TYPE, *, state: str = '{"n":0}', version: int = 1) -> Wanted:
    """A wish to own an object."""
    return Wanted(type, id, version, state)


def commit(held: Owned, **columns: Any) -> ObjectCommit:
    """What a call left of an object: its next commit."""
    plain: dict[str, Any] = {"version": held.version, "state": '{"n":1}', "commit": held.commits + 1}
    plain |= columns
    return ObjectCommit(held.type, held.id, held.epoch, **plain)


def after(held: Owned, count: int = 1) -> Owned:
    """The object as its owner knows it after so many commits."""
    return held._replace(commits=held.commits + count)


def alarm(held: Owned | ObjectKey, name: str = "ring", **columns: Any) -> AlarmRow:
    """An alarm of an object, due now."""
    plain: dict[str, Any] = {"revision": "r1", "delay_s": 0.0} | columns
    return AlarmRow(held[0], held[1], name, **plain)


class Owners:
    """Nodes that own objects."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.store = given.store

    async def owned(self, *ids: str, node: str = NODE, type: str = TYPE, store: Store | None = None) -> list[Owned]:
        """Objects that a node, which lives, has come to own; in the order of their ids."""
        await self.given.node(node)
        found = await (store or self.store).objects.activate(node, [wanted(id, type) for id in ids])
        assert found.elsewhere == []
        assert sorted(each.id for each in found.owned) == sorted(ids)
        return sorted(found.owned)

    async def one(self, id: str = "1", *, node: str = NODE, type: str = TYPE) -> Owned:
        """One of them."""
        return (await self.owned(id, node=node, type=type))[0]

    async def saved(self, *batch: ObjectCommit, node: str = NODE) -> None:
        """Writes commits, all of which must be written."""
        assert await self.store.objects.save(node, list(batch)) == []

    async def state(self, id: str = "1", type: str = TYPE) -> str | None:
        """An object's state; None: there is no such object."""
        row = await self.store.objects.get(type, id)
        return row and row.state

    def call(self, id: str = "1", type: str = TYPE, **columns: Any) -> NewCall:
        """A call to post."""
        plain: dict[str, Any] = {"call": self.given.world.new_id(), "handler": "add", "args": '{"x":1}'} | columns
        return NewCall(type=type, id=id, **plain)

    async def waiting(self, node: str = NODE, *types: str, limit: int = 1_000) -> list[str]:
        """Ids of the calls that a node may take."""
        return [each.call for each in await self.store.calls.waiting(node, types or (TYPE,), limit)]

    async def due(self, node: str = NODE, *types: str, limit: int = 1_000) -> list[tuple[str, str]]:
        """Ids and names of the alarms that a node may ring."""
        found = await self.store.alarms.due(node, types or (TYPE,), limit)
        return [(row.id, row.name) for row in found.alarms]

    async def bury(self, node: str = NODE) -> None:
        """The node's row is gone: it owns nothing any more."""
        await self.store.leases.retire(node)
