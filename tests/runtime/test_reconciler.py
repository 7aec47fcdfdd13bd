"""The reconciler: what the rows say we hold, against what we hold."""

from typing import Any

import pytest

from outlast._runtime.events import Events
from outlast._runtime.upkeep import Reconciler
from tests.runtime.stage import Heard, ids_of
from tests.store.given import NODE, Given, settlement


class Held:
    """What this process holds, and what the reconciler did about it.

    Attributes:
        open: Epochs of claims without an outcome, by id.
        more: Ids whose outcome is not yet durable.
        takes: Claims that are being made.
        back: Claims given back.
        stopped: Ids stopped.
        paused: Ids that begin nothing more.
    """

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.more: set[str] = set()
        self.takes: frozenset[tuple[str, int]] = frozenset()
        self.back: list[tuple[str, int]] = []
        self.stopped: set[str] = set()
        self.paused: set[str] = set()

    def run(self, claims: Any) -> None:
        self.open |= {claim.id: claim.epoch for claim in claims}


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def reconciler(given: Given, held: Held, events: Events) -> Reconciler:
    return Reconciler(
        given.store.claims,
        node=lambda: NODE,
        held=lambda: held.open.keys() | held.more,
        open_claims=lambda: dict(held.open),
        takes=lambda: held.takes,
        give_back=held.back.extend,
        stop=held.stopped.update,
        pause=held.paused.update,
        interval_s=10.0,
        events=events,
    )


async def test_what_both_sides_know_is_left_alone(given: Given, held: Held, reconciler: Reconciler) -> None:
    held.run(await given.claimed(3))

    for _ in range(3):
        assert await reconciler.beat() == 10.0

    assert (held.back, held.stopped) == ([], set())


async def test_a_claim_that_nobody_knows_of_goes_back_when_seen_twice(
    given: Given, held: Held, reconciler: Reconciler, heard: Heard
) -> None:
    claims = await given.claimed(2)

    assert await reconciler.beat() == 0.5
    assert held.back == []

    await reconciler.beat()
    assert held.back == sorted((claim.id, claim.epoch) for claim in claims)
    assert [said["count"] for said in heard.of("claims.orphaned")] == [2]


async def test_it_is_given_back_once(given: Given, held: Held, reconciler: Reconciler) -> None:
    claim = await given.claim()

    for _ in range(3):
        await reconciler.beat()

    assert held.back == [(claim.id, claim.epoch)]


async def test_a_reply_that_was_only_late_is_no_orphan(given: Given, held: Held, reconciler: Reconciler) -> None:
    claims = await given.claimed(2)
    await reconciler.beat()

    held.run(claims)
    await reconciler.beat()

    assert held.back == []


async def test_what_a_slow_claim_may_bring_is_no_orphan(given: Given, held: Held, reconciler: Reconciler) -> None:
    claims = await given.claimed(2)
    held.takes = frozenset({("default", 7)})

    for _ in range(5):
        assert await reconciler.beat() == 0.5
    assert held.back == []
    held.takes = frozenset({("default", 8), ("mail", 7)})
    await reconciler.beat()

    assert held.back == sorted((claim.id, claim.epoch) for claim in claims)


async def test_an_outcome_that_is_not_yet_durable_is_no_orphan(
    given: Given, held: Held, reconciler: Reconciler
) -> None:
    held.more = ids_of(await given.claimed(2))

    for _ in range(3):
        await reconciler.beat()

    assert (held.back, held.stopped) == ([], set())


async def test_a_reply_that_arrives_while_it_looks_is_no_orphan(
    given: Given, held: Held, reconciler: Reconciler
) -> None:
    claims = await given.claimed(2)
    await reconciler.beat()
    real = given.store.claims.owned

    async def owned(node: str) -> Any:
        found = await real(node)
        held.run(claims)
        return found

    given.store.claims.owned = owned  # type: ignore[method-assign]
    await reconciler.beat()

    assert held.back == []


async def test_what_was_cancelled_or_taken_over_is_stopped_at_once(
    given: Given, held: Held, reconciler: Reconciler
) -> None:
    cancelled, taken_over, kept = await given.claimed(3)
    held.run([cancelled, taken_over, kept])
    await given.store.instances.cancel(cancelled.id, "{}", None)
    await given.store.claims.release([(taken_over.id, taken_over.epoch)])
    await given.taken(node="bob")

    await reconciler.beat()

    assert held.stopped == {cancelled.id, taken_over.id}
    assert held.back == []


async def test_what_it_took_again_itself_is_told_apart_by_epoch(
    given: Given, held: Held, reconciler: Reconciler
) -> None:
    claim = await given.claim()
    held.run([claim])
    await given.store.claims.release([(claim.id, claim.epoch)])
    (again,) = await given.taken()
    assert again.epoch == claim.epoch + 1

    await reconciler.beat()

    assert held.stopped == {claim.id}


async def test_what_ended_while_it_looked_is_not_stopped(given: Given, held: Held, reconciler: Reconciler) -> None:
    claim = await given.claim()
    held.run([claim])
    real = given.store.claims.owned

    async def owned(node: str) -> Any:
        await given.store.claims.commit([settlement(claim)])
        found = await real(node)
        del held.open[claim.id]
        return found

    given.store.claims.owned = owned  # type: ignore[method-assign]
    await reconciler.beat()

    assert (held.stopped, held.back) == (set(), [])
