"""The lease: renewed from a thread, doubted in time, and made anew after a burial."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast._runtime.events import Events
from outlast._runtime.node import FENCE_SHARE, Node
from outlast._world import SystemWorld
from outlast.errors import StoreUnavailable
from tests.runtime.stage import Clock, Heard, soon
from tests.store.given import Given

LEASE_S = 2.0
RENEW_S = 0.1


class Watched:
    """A node, and what it called."""

    def __init__(self, given: Given, events: Events, world: SystemWorld, *, renew_s: float = RENEW_S) -> None:
        self.told: list[str] = []
        self.news = asyncio.Event()
        self.away = threading.Event()
        self.renewals = 0
        self._real: Any = None
        given.store.leases.renewer = self._make(given.store.leases.renewer)  # type: ignore[method-assign]
        self.declared: list[str] = []
        self.node = Node(
            given.store.leases,
            lease_s=LEASE_S,
            renew_s=renew_s,
            on_doubt=lambda: self._tell("doubt"),
            on_buried=lambda: self._tell("buried"),
            on_well=lambda: self._tell("well"),
            declare=self._declare,
            events=events,
            world=world,
        )

    def _make(self, renewer: Callable[[], Any]) -> Callable[[], Any]:
        def make() -> Any:
            self._real = renewer()
            return self

        return make

    def renew(self, node: str) -> bool:
        if self.away.is_set():
            raise StoreUnavailable("the connection was lost")
        self.renewals += 1
        return bool(self._real.renew(node))

    def close(self) -> None:
        self._real.close()

    async def _declare(self, node: str) -> None:
        self.declared.append(node)

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    async def hears(self, what: str) -> None:
        async with asyncio.timeout(20):
            while what not in self.told:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def watched(given: Given, events: Events) -> AsyncIterator[Watched]:
    """An open node on the real clock."""
    watched = Watched(given, events, SystemWorld())
    await watched.node.open()
    yield watched
    await watched.node.close()
    await watched.node.join()


async def _beats(given: Given) -> dict[str, int]:
    return {beat.node: beat.beat for beat in await given.store.leases.beats()}


async def test_it_registers_and_renews_from_its_own_thread(given: Given, watched: Watched) -> None:
    (nodes,) = await given.store.leases.nodes()
    assert (nodes.id, nodes.lease_s, nodes.running) == (watched.node.id, LEASE_S, 0)
    first = (await _beats(given))[watched.node.id]

    assert _stand_still(watched)  # the loop itself stands still meanwhile.

    assert (await _beats(given))[watched.node.id] > first
    assert watched.told == []
    assert watched.node.claims_as == watched.node.id


def _stand_still(watched: Watched) -> bool:
    done = threading.Event()
    before = watched.renewals
    for _ in range(80):
        if watched.renewals >= before + 2:
            return True
        done.wait(0.1)
    return False


async def test_goodbye_is_said_and_the_thread_ends(given: Given, events: Events) -> None:
    watched = Watched(given, events, SystemWorld())
    await watched.node.open()

    await soon(watched.node.close())
    await soon(watched.node.join())

    assert await _beats(given) == {}
    assert not any(thread.name == "outlast-lease" for thread in threading.enumerate())


async def test_goodbye_does_not_wait_for_the_next_renewal(given: Given, events: Events) -> None:
    watched = Watched(given, events, SystemWorld(), renew_s=3_600.0)
    await watched.node.open()

    await soon(watched.node.close())
    await soon(watched.node.join())

    assert await _beats(given) == {}


async def test_a_lease_that_cannot_be_renewed_is_doubted_before_it_is_over(watched: Watched, heard: Heard) -> None:
    watched.away.set()

    await watched.hears("doubt")

    late_s = heard.of("node.fenced")[0]["late_s"]
    assert late_s >= FENCE_SHARE * LEASE_S
    assert watched.node.claims_as == ""
    assert watched.node.in_doubt


async def test_a_renewal_ends_the_doubt(watched: Watched) -> None:
    watched.away.set()
    await watched.hears("doubt")

    watched.away.clear()

    await watched.hears("well")
    assert watched.told == ["doubt", "well"]
    assert watched.node.claims_as == watched.node.id


async def test_a_buried_node_lets_go_registers_anew_and_is_well(given: Given, watched: Watched, heard: Heard) -> None:
    former = watched.node.id

    given.database.query("DELETE FROM {nodes}")
    await watched.hears("well")

    assert watched.told == ["buried", "well"]
    assert watched.node.id != former
    assert list(await _beats(given)) == [watched.node.id]
    assert [said["node"] for said in heard.of("node.buried")] == [former]
    assert watched.node.claims_as == watched.node.id


async def test_a_burial_that_is_heard_of_while_the_node_says_goodbye_changes_nothing(watched: Watched) -> None:
    former = watched.node.id
    await watched.node.close()

    watched.node._bury(former)
    await asyncio.sleep(0)

    assert watched.node.id == former
    assert watched.told == []


async def test_nothing_is_claimed_between_burial_and_the_new_name(given: Given, watched: Watched) -> None:
    go_on = asyncio.Event()
    real = given.store.leases.register

    async def slow(*args: Any) -> None:
        await go_on.wait()
        await real(*args)

    given.store.leases.register = slow  # type: ignore[method-assign]
    given.database.query("DELETE FROM {nodes}")
    await watched.hears("buried")

    assert watched.node.claims_as == ""

    go_on.set()
    await watched.hears("well")
    assert watched.node.claims_as == watched.node.id


async def test_a_registration_that_fails_is_tried_until_it_works(given: Given, watched: Watched) -> None:
    real = given.store.leases.register
    errors = [StoreUnavailable("away")] * 2

    async def away(*args: Any) -> None:
        if errors:
            raise errors.pop()
        await real(*args)

    given.store.leases.register = away  # type: ignore[method-assign]
    given.database.query("DELETE FROM {nodes}")

    await watched.hears("well")

    assert list(await _beats(given)) == [watched.node.id]


async def test_an_error_of_our_own_does_not_end_the_renewals(watched: Watched, heard: Heard) -> None:
    real = watched._real
    broken = threading.Event()

    class Broken:
        def renew(self, node: str) -> bool:
            broken.set()
            watched._real = real
            raise ZeroDivisionError("a bug of ours")

        def close(self) -> None: ...

    watched._real = Broken()
    await asyncio.to_thread(broken.wait, 8)
    before = watched.renewals

    await eventually_async(lambda: watched.renewals > before)
    await eventually_async(lambda: heard.of("loop.failed"))
    assert heard.of("loop.failed")[0]["loop"] == "lease"


async def test_a_process_that_was_frozen_doubts_before_it_is_told(given: Given, events: Events, clock: Clock) -> None:
    watched = Watched(given, events, clock, renew_s=3_600.0)
    await watched.node.open()
    assert watched.node.claims_as == watched.node.id

    clock.now += LEASE_S

    assert watched.node.claims_as == ""
    watched.node.renewed(clock.now)
    assert watched.node.claims_as == watched.node.id
    await watched.node.close()
    await watched.node.join()


async def test_a_lease_counts_from_when_its_renewal_was_asked_for(given: Given, events: Events, clock: Clock) -> None:
    watched = Watched(given, events, clock)
    renew = watched.renew

    def slowly(node: str) -> bool:
        alive = renew(node)
        clock.now += LEASE_S  # the answer is a lease long under way: others may have taken over by now.
        watched.node._stop.set()  # it is the last one.
        return alive

    watched.renew = slowly  # type: ignore[method-assign]
    await watched.node.open()
    assert watched.node.is_sure

    await watched.node.join()

    assert watched.renewals == 1
    assert not watched.node.is_sure
    assert watched.node.claims_as == "", "nothing is begun on the word of an answer that lay there for a lease"
    await watched.node.close()


@pytest.mark.parametrize(("renew_s", "least_s", "most_s"), [(0.3, 0.075, 0.15), (1.0, 0.25, 0.5), (10.0, 0.25, 0.5)])
async def test_after_a_miss_it_tries_again_several_times_within_a_lease(
    given: Given, events: Events, renew_s: float, least_s: float, most_s: float
) -> None:
    watched = Watched(given, events, SystemWorld(), renew_s=renew_s)

    naps_s = [watched.node._missed(StoreUnavailable("the server restarts")) for _ in range(100)]

    assert least_s <= min(naps_s) < max(naps_s) <= most_s
