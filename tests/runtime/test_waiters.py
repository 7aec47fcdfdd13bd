"""Those who wait for an end: woken by commits here, by the bell, and by a look now and then."""

import asyncio
from typing import Any

import pytest

from outlast._model import Ended
from outlast._runtime import waiters as module
from outlast._runtime.waiters import LOOK_S, Waiters
from outlast.errors import EngineStateError, StoreError, StoreUnavailable
from tests.runtime.stage import soon, turns
from tests.store.given import Given, settlement

Tasks = list[asyncio.Task[Any]]


@pytest.fixture
def waiters(given: Given) -> Waiters:
    return Waiters(given.store.instances)


async def _waiting(waiters: Waiters, id: str, loops: Tasks) -> asyncio.Task[Ended | None]:
    """A wait that has looked once and found no end."""
    looked = asyncio.Event()
    real = waiters._instances.ended

    async def ended(ids: Any) -> Any:
        found = await real(ids)
        looked.set()
        return found

    waiters._instances.ended = ended  # type: ignore[method-assign]
    task = asyncio.create_task(waiters.wait(id))
    loops.append(task)
    await soon(looked.wait())
    waiters._instances.ended = real  # type: ignore[method-assign]
    await turns()
    assert not task.done()
    return task


@pytest.mark.parametrize("status", ["done", "failed", "cancelled", "quarantined"])
async def test_what_has_ended_answers_at_once(given: Given, waiters: Waiters, status: str) -> None:
    id = await given.ended(status)

    ended = await soon(waiters.wait(id))

    assert (ended.id, ended.status) == (id, status)


async def test_what_never_was_is_nothing(given: Given, waiters: Waiters) -> None:
    assert await soon(waiters.wait(given.world.new_id())) is None


async def test_a_commit_of_this_process_answers_without_a_look(given: Given, waiters: Waiters, loops: Tasks) -> None:
    claim = await given.claim()
    task = await _waiting(waiters, claim.id, loops)
    done = settlement(claim)

    waiters.settled([done], set())

    assert await soon(task) == Ended(claim.id, "done", done.result, done.error)


async def test_a_stale_or_unfinished_outcome_answers_nobody(given: Given, waiters: Waiters, loops: Tasks) -> None:
    claim = await given.claim()
    task = await _waiting(waiters, claim.id, loops)

    waiters.settled([settlement(claim)], {claim.id})
    waiters.settled([settlement(claim, "ready")], set())
    waiters.settled([settlement(claim, "scheduled")], set())
    await turns()

    assert not task.done()


async def test_a_look_finds_what_another_process_ended(given: Given, waiters: Waiters, loops: Tasks) -> None:
    one, two = await given.claimed(2)
    first, second = await _waiting(waiters, one.id, loops), await _waiting(waiters, two.id, loops)
    await given.store.claims.commit([settlement(one)])

    assert await waiters.beat() == LOOK_S

    assert (await soon(first)).status == "done"
    assert not second.done()


async def test_a_look_finds_what_was_deleted(given: Given, waiters: Waiters, loops: Tasks) -> None:
    id = await given.one()
    task = await _waiting(waiters, id, loops)
    await given.store.instances.delete(id)

    await waiters.beat()

    assert await soon(task) is None


async def test_many_are_looked_at_in_portions(
    given: Given, waiters: Waiters, loops: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASKED_MAX", 2)
    claims = await given.claimed(5)
    tasks = [await _waiting(waiters, claim.id, loops) for claim in claims]
    await given.store.claims.commit([settlement(claim) for claim in claims])

    await waiters.beat()

    assert [(await soon(task)).status for task in tasks] == ["done"] * 5


async def test_a_ring_for_one_that_is_waited_for_makes_it_look(given: Given, waiters: Waiters, loops: Tasks) -> None:
    looks: list[int] = []
    waiters.on_wake(lambda: looks.append(1))
    id = await given.one()
    waiters.heard("*")
    assert looks == []
    await _waiting(waiters, id, loops)

    waiters.heard(given.world.new_id())
    assert looks == []
    waiters.heard(id)
    waiters.heard("*")

    assert looks == [1, 1]


async def test_a_commit_during_the_first_look_is_not_missed(given: Given, waiters: Waiters) -> None:
    claim = await given.claim()
    real = given.store.instances.ended

    async def ended(ids: Any) -> Any:
        found = await real(ids)  # still running, and from here on out of date.
        waiters.settled([settlement(claim)], set())
        return found

    given.store.instances.ended = ended  # type: ignore[method-assign]

    assert (await soon(waiters.wait(claim.id))).status == "done"


async def test_an_outage_is_waited_out_and_an_error_is_told(given: Given, waiters: Waiters) -> None:
    id = await given.ended()
    real = given.store.instances.ended
    errors: list[Exception] = [StoreUnavailable("away"), StoreError("broken")]

    async def ended(ids: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return await real(ids)

    given.store.instances.ended = ended  # type: ignore[method-assign]
    task = asyncio.create_task(waiters.wait(id))
    await turns()
    with pytest.raises(StoreError, match="broken"):
        await waiters.wait(id)

    await waiters.beat()

    assert (await soon(task)).status == "done"


async def test_closing_tells_all_who_wait(given: Given, waiters: Waiters, loops: Tasks) -> None:
    id = await given.one()
    tasks = [await _waiting(waiters, id, loops) for _ in range(3)]

    waiters.close()

    for task in tasks:
        with pytest.raises(EngineStateError, match="closed"):
            await soon(task)
    assert waiters._waiting == {}


async def test_who_stops_waiting_is_forgotten(given: Given, waiters: Waiters, loops: Tasks) -> None:
    id = await given.one()
    one, two = await _waiting(waiters, id, loops), await _waiting(waiters, id, loops)

    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    assert len(waiters._waiting[id]) == 1
    two.cancel()
    await asyncio.gather(two, return_exceptions=True)

    assert waiters._waiting == {}
