"""`objects`, `touched`, `reads`, `hot`, `remote` and `alarms`: what calls of objects cost, here and elsewhere."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any, Final

from bench import children, meter
from bench.child import Stage
from bench.children import Child
from bench.figures import Figures, quantile_ms
from bench.meter import Watch
from bench.places import Database
from outlast import Engine, Object, alarm, handler
from outlast._model import AlarmRow, Wanted

N = 100_000
SPREAD: Final = 1_000
CALLERS: Final = 1_000
SETTINGS = f"{CALLERS} callers at once over {SPREAD} objects; a unit is an increment, answered after its commit"
RESIDENTS: Final = 10_000
FLOOR_ROWS: Final = 100
FLOOR_N: Final = 20_000


class Counter(Object, name="bench.Counter", hibernate_after=None, call_timeout=60):
    """Counts."""

    count: int = 0

    @handler
    async def add(self, amount: int = 1) -> int:
        """Changes the state."""
        self.count += amount
        return self.count

    @handler(read_only=True)
    async def get(self) -> int:
        """Does not."""
        return self.count

    @alarm
    async def ring(self) -> None:
        """Changes it, too."""
        self.count += 1


def measure(database: Database, n: int) -> list[Figures]:
    """Increments spread over many objects of one process."""
    floor = children.play(database, f"bench.floor.{database.store}:inserts", n=min(n, FLOOR_N), rows=min(n, FLOOR_ROWS))
    found = children.run(database, "bench.objects:spread", n=n)
    return [Figures(workload="objects", store=database.store, n=n, floor=floor["per_s"], **found)]


async def spread(stage: Stage, *, url: str, n: int) -> None:
    """Callers at once, each going from object to object."""
    async with Engine(url, queues={"default": 1}) as engine:
        counters = [engine.object(Counter, str(number)) for number in range(min(SPREAD, n))]
        await asyncio.gather(*(counter.add() for counter in counters))
        await stage.ask()
        watch = Watch()
        await _all(n, lambda number: counters[number * 7 % len(counters)].add())
        await stage.ask(**watch.facts(n))


async def _all(n: int, call: Any, callers: int = CALLERS) -> None:
    numbers = iter(range(n))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(caller() for _ in range(min(callers, n))))


async def stored(stage: Stage, *, url: str, n: int) -> None:
    """Stores objects that nobody owns afterwards."""
    kind = Counter.outlast_kind
    async with Engine(url, queues={"default": 1}) as engine:
        node = engine._running().keeper.node()
        for start in range(0, n, 1_000):
            some = range(start, min(n, start + 1_000))
            wanted = [Wanted(kind.name, str(number), kind.version, kind.blank()) for number in some]
            await engine._store.objects.activate(node, wanted)
    await stage.ask()
    await stage.ask()


async def touched(stage: Stage, *, url: str, n: int) -> None:
    """Callers at once, each going from one stored object to the next."""
    rss_mb: dict[str, float | None] = {}
    async with Engine(url, queues={"default": 1}, resident_objects=RESIDENTS) as engine:
        await stage.ask()
        watch = Watch()
        begun = 0
        for name, share in (("rss_tenth_mb", 0.1), ("rss_half_mb", 0.5), ("rss_end_mb", 1.0)):
            until = int(n * share)
            await _all(until - begun, lambda number, begun=begun: engine.object(Counter, str(begun + number)).add())
            begun = until
            rss_mb[name] = meter.rss_mb()
        grown = (rss_mb["rss_end_mb"] or 0.0) - (rss_mb["rss_half_mb"] or 0.0)
        more = rss_mb | {"grown_b_per_object": grown * 2**20 / (n - n // 2)}
        await stage.ask(**watch.facts(n), more=more)


async def reads(stage: Stage, *, url: str, n: int) -> None:
    """One caller, one object in memory."""
    async with Engine(url, queues={"default": 1}) as engine:
        counter = engine.object(Counter, "read")
        await counter.add()
        await stage.ask()
        watch = Watch()
        for _ in range(n):
            await counter.get()
        await stage.ask(**watch.facts(n))


async def sequential(stage: Stage, *, url: str, n: int, store: str) -> None:
    """One caller, one object, one commit after the other; by turns with bare commits: both meet the same disk."""
    floor = importlib.import_module(f"bench.floor.{store}")
    async with Engine(url, queues={"default": 1}) as engine, floor.one_row(url) as change:
        counter = engine.object(Counter, "sequential")
        await counter.add()
        await stage.ask()
        watch, bare = Watch(), Watch()
        for number in range(n):
            turn = (bare, lambda number=number: change(str(number))), (watch, counter.add)
            for stopped, call in turn if number % 2 else reversed(turn):
                with stopped.timed():
                    await call()
        await stage.ask(**watch.facts(n), floor=quantile_ms(bare.times_s, 0.5))


async def crowd(stage: Stage, *, url: str, n: int, callers: int) -> None:
    """Many callers of one object, which share commits."""
    async with Engine(url, queues={"default": 1}) as engine:
        counter = engine.object(Counter, "crowd")
        await counter.add()
        await stage.ask()
        watch = Watch()
        await _all(n, lambda _: counter.add(), callers)
        await stage.ask(**watch.facts(n))


async def owner(stage: Stage, *, url: str) -> None:
    """Owns the objects that another process calls."""
    async with Engine(url, queues={"default": 1}) as engine:
        await asyncio.gather(*(engine.object(Counter, f"far {number}").add() for number in range(100)))
        await stage.ask()
        await stage.ask()


async def away(stage: Stage, *, url: str, n: int, callers: int, pause_s: float) -> None:
    """Calls objects that another process owns."""
    async with Engine(url, queues={}) as engine:
        counters = [engine.object(Counter, f"far {number}") for number in range(100)]
        await counters[0].add()
        await stage.ask()
        watch = Watch()

        async def call(number: int) -> None:
            if pause_s:
                await asyncio.sleep(pause_s)
            with watch.timed():
                await counters[number % 100].add()

        await _all(n, call, callers)
        await stage.ask(**watch.facts(n))


def play_away(database: Database, **arguments: Any) -> dict[str, Any]:
    """Two processes: one owns, one calls."""
    before = database.counts()
    with Child("bench.objects:owner", url=database.url) as far:
        far.hear()
        found = children.play(database, "bench.objects:away", **arguments)
        far.nod()
        far.hear()
        far.nod()
        for name, count in far.hear().items():
            found[name] += count
    return found | database.counts_since(before)


async def ring(stage: Stage, *, url: str, n: int) -> None:
    """Sets alarms of as many objects, all due at once, and lets them ring."""
    left = n
    over = asyncio.Event()

    def saved(name: str, fields: dict[str, Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set()

    async with Engine(url, queues={}) as setter:
        rows = [AlarmRow("bench.Counter", str(number), "ring", str(number), delay_s=0.0) for number in range(n)]
        for start in range(0, n, 1_000):
            await setter._store.alarms.set(rows[start : start + 1_000])
    await stage.ask()
    watch = Watch()
    engine = Engine(url, queues={"default": 1}, programs=[Counter])
    engine.on("object.saved", saved)
    began = time.perf_counter()
    async with engine:
        await over.wait()
        facts = watch.facts(n) | {"per_s": n / (time.perf_counter() - began)}
        await stage.ask(**facts, more={"rss_after_mb": meter.rss_mb()})
