"""When is a silent node dead? Not while the database refuses everybody's writes and still answers reads."""

from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest

from outlast._runtime.doorbell import Doorbell
from outlast._runtime.events import Events
from outlast._runtime.node import Node
from outlast._runtime.upkeep import Reaper
from outlast._store.contract import Store
from outlast._store.door import open_store
from outlast._world import SystemWorld
from outlast.config import make_config
from outlast.errors import StoreFull

LEASE_S = 1.0


class Clock(SystemWorld):
    """A world whose monotonic clock moves when told."""

    dice = Random(0)
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """A store in which one node has registered and was not heard of again."""
    store = open_store(make_config(sqlite_url, {}), SystemWorld())
    await store.open()
    await store.leases.register("silent", "host", 1, LEASE_S)
    yield store
    await store.close()


async def nodes(store: Store) -> list[str]:
    """Who is taken for alive."""
    return [beat.node for beat in await store.leases.beats()]


async def watch_for(reaper: Reaper, clock: Clock, seconds: float) -> None:
    """Rounds, a tenth of a second apart."""
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        await reaper.beat()


def make_reaper(store: Store, clock: Clock, steady_since: Callable[[], float]) -> Reaper:
    """A reaper of a node that is not the silent one."""
    bell: Any = None
    return Reaper(
        store.leases,
        Doorbell(bell, remote=False),
        interval_s=0.1,
        max_crashes=5,
        own_node=lambda: "own",
        steady_since=steady_since,
        events=Events(""),
        world=clock,
    )


async def test_a_node_is_dead_after_a_lease_in_which_ours_could_renew(store: Store) -> None:
    clock = Clock()
    reaper = make_reaper(store, clock, lambda: 0.0)

    await watch_for(reaper, clock, 0.9)
    assert await nodes(store) == ["silent"]

    await watch_for(reaper, clock, 0.5)
    assert await nodes(store) == []


async def test_silence_counts_only_from_when_our_own_renewals_became_steady(store: Store) -> None:
    clock = Clock()
    since = [clock.now]
    reaper = make_reaper(store, clock, lambda: since[0])
    await watch_for(reaper, clock, 0.9)

    since[0] = clock.now  # the disk was full until now, for everybody.
    await watch_for(reaper, clock, 0.9)
    assert await nodes(store) == ["silent"]

    await watch_for(reaper, clock, 0.5)
    assert await nodes(store) == []


async def test_a_reaper_that_cannot_write_begins_to_watch_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    reaper = make_reaper(store, clock, lambda: 0.0)
    await watch_for(reaper, clock, 0.9)

    async def bury(node: str, beat: int) -> bool:
        raise StoreFull("no space")

    with monkeypatch.context() as full:
        full.setattr(store.leases, "bury", bury)
        with pytest.raises(StoreFull):
            await watch_for(reaper, clock, 0.3)
    await watch_for(reaper, clock, 0.9)
    assert await nodes(store) == ["silent"]

    await watch_for(reaper, clock, 0.5)
    assert await nodes(store) == []


async def _nothing(node: str) -> None: ...


async def test_a_node_is_steady_since_its_last_gap(store: Store) -> None:
    clock = Clock()
    node = Node(
        store.leases,
        lease_s=LEASE_S,
        renew_s=LEASE_S / 3,
        on_doubt=lambda: None,
        on_buried=lambda: None,
        on_well=lambda: None,
        declare=_nothing,
        events=Events(""),
        world=clock,
    )
    began = clock.now

    node.renewed(clock.now)
    for _ in range(6):
        clock.now += LEASE_S / 3
        node.renewed(clock.now)
    assert node.steady_since() == began

    clock.now += 0.7
    assert node.steady_since() == clock.now
    node.renewed(clock.now)
    again = clock.now
    clock.now += LEASE_S / 3
    node.renewed(clock.now)
    assert node.steady_since() == again
