"""Peers' bugs with objects: two owners, half a commit, alarms that are thrown away."""

from typing import Any

import pytest

from outlast._store.contract import Store
from outlast.errors import StoreError
from tests.scars.given import breaking_off
from tests.store.given import NODE
from tests.store.owners import BOB, TYPE, Owners, after, alarm, commit


@pytest.mark.parametrize("statement", ["set_alarms", "cancel_alarms"])
async def test_object_state_saved_alarm_lost(owners: Owners, store: Store, statement: str) -> None:
    """DurableObject: state and alarm were two writes; a crash between them left an object that waits for a call
    that nobody will make.

    Here both are one commit: either all of it is there, or nothing.
    """
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held, "old")]))
    what: dict[str, Any] = {"set_alarms": {"alarms": [alarm(held, "new")]}, "cancel_alarms": {"cancelled": ["old"]}}
    change = commit(after(held), state='{"n":2}', **what[statement])

    with breaking_off(store.objects, statement), pytest.raises(StoreError):
        await store.objects.save(NODE, [change])
    assert (await owners.state(), await owners.due()) == ('{"n":1}', [("1", "old")])

    await owners.saved(change)
    assert await owners.state() == '{"n":2}'
    assert sorted(name for _, name in await owners.due()) == (["new", "old"] if statement == "set_alarms" else [])


async def test_object_split_brain_lost_update(owners: Owners, store: Store, other: Store) -> None:
    """DurableObject: `save` was an upsert that asked for no owner; of two processes that both held an object the
    last one to write won, and the other's calls were answered and gone.

    Here a commit names its owner and the epoch of its ownership: who was replaced writes nothing, and is told so.
    """
    old = await owners.one()
    await owners.saved(commit(old, state='{"n":1}'))
    await owners.bury()
    new = (await owners.owned("1", node=BOB, store=other))[0]
    assert (new.state, new.epoch) == ('{"n":1}', old.epoch + 1)

    await owners.saved(commit(new, state='{"n":2}'), node=BOB)
    for late in (after(old), after(old, 5)):
        assert await store.objects.save(NODE, [commit(late, state='{"n":100}')]) == [(TYPE, "1")]

    assert await owners.state() == '{"n":2}'


async def test_unknown_module_deletes_alarm(owners: Owners, store: Store, other: Store) -> None:
    """DurableObject: an alarm whose module was not loaded was deleted. In a deploy, the old release threw away the
    new one's alarms.

    Here a process asks for the alarms of the classes that it knows; those of others are not even read.
    """
    held = await owners.one()
    await owners.saved(commit(held, alarms=[alarm(held)]))
    await owners.bury()
    await owners.given.node(BOB)

    assert (await other.alarms.due(BOB, ["stranger"], 100)).alarms == []
    await other.objects.prune(100)
    await other.calls.prune(100)

    assert await owners.due(BOB, TYPE) == [("1", "ring")]
