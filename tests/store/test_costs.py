"""How many statements a call costs: by the batch, never by the row."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from outlast._model import AlarmMove, Answer
from tests.store.contract.test_schedules import a_schedule
from tests.store.given import KNOWN, NODE, Given, settlement
from tests.store.outcomes import Post, ended, parked, spawned
from tests.store.owners import BOB, TYPE, Owners, after, alarm, commit, wanted

BUDGET = {
    # SQLite: a look outside, then BEGIN, the work, COMMIT. Postgres: one round trip, one commit.
    "claim, nothing there": {"sqlite": 1, "postgres": 1},
    "claim": {"sqlite": 5, "postgres": 1},
    "commit": {"sqlite": 3, "postgres": 1},
    "commit, one stale": {"sqlite": 4, "postgres": 2},
    "add": {"sqlite": 3, "postgres": 1},
    # Postgres: a transaction, with the tags after the rows.
    "add, tagged": {"sqlite": 4, "postgres": 4},
    "add, one held": {"sqlite": 4, "postgres": 2},
    "release": {"sqlite": 3, "postgres": 1},
    "report": {"sqlite": 3, "postgres": 1},
    "promote, nothing due": {"sqlite": 1, "postgres": 1},
    "promote": {"sqlite": 6, "postgres": 1},
    "reclaim, nothing lost": {"sqlite": 1, "postgres": 1},
    "reclaim": {"sqlite": 5, "postgres": 1},
    # Rows, signals, journal, lines, tags, acts.
    "prune, nothing expired": {"sqlite": 1, "postgres": 1},
    "prune": {"sqlite": 10, "postgres": 1},
    # Those with effects are transactions in Postgres, too: BEGIN, the work, COMMIT.
    "send": {"sqlite": 7, "postgres": 5},
    "send, nobody there": {"sqlite": 4, "postgres": 4},
    "park": {"sqlite": 5, "postgres": 5},
    "park, signals there": {"sqlite": 8, "postgres": 6},
    "spawn": {"sqlite": 7, "postgres": 6},
    "spawn, one held": {"sqlite": 8, "postgres": 7},
    "end of children": {"sqlite": 7, "postgres": 7},
    "end of the last children": {"sqlite": 7, "postgres": 7},
    "cancel of a tree": {"sqlite": 8, "postgres": 9},
    "add and send": {"sqlite": 7, "postgres": 6},
    "inbox": {"sqlite": 1, "postgres": 1},
    "get": {"sqlite": 1, "postgres": 1},
    "ended": {"sqlite": 1, "postgres": 1},
    "glance at schedules": {"sqlite": 1, "postgres": 1},
    "fire": {"sqlite": 4, "postgres": 4},
    "activate": {"sqlite": 3, "postgres": 1},
    "activate, some elsewhere": {"sqlite": 4, "postgres": 1},
    # Postgres: what nobody took, then BEGIN, the locks, the look at who lives, COMMIT.
    "take over": {"sqlite": 3, "postgres": 5},
    "save": {"sqlite": 3, "postgres": 1},
    "save, one stale": {"sqlite": 4, "postgres": 2},
    # The objects, what rang, what is done, cleared, cancelled, set, sent, answered.
    "save with all": {"sqlite": 12, "postgres": 10},
    "save with alarms": {"sqlite": 5, "postgres": 4},
    "release all objects": {"sqlite": 3, "postgres": 1},
    "owned objects": {"sqlite": 1, "postgres": 1},
    "prune objects": {"sqlite": 6, "postgres": 5},
    "prune objects, nothing expired": {"sqlite": 1, "postgres": 3},
    "post": {"sqlite": 4, "postgres": 1},
    "post, keys known": {"sqlite": 5, "postgres": 3},
    "waiting calls": {"sqlite": 1, "postgres": 1},
    "waiting calls of three types": {"sqlite": 3, "postgres": 1},
    "answers": {"sqlite": 1, "postgres": 1},
    "drop calls": {"sqlite": 3, "postgres": 1},
    "prune calls": {"sqlite": 3, "postgres": 1},
    "due alarms": {"sqlite": 2, "postgres": 1},
    "due alarms of three types": {"sqlite": 6, "postgres": 1},
    "set alarms": {"sqlite": 3, "postgres": 1},
}
"""Statements by call and dialect. A changed number is changed here in the same commit, with the reason."""

Meter = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that connections made from now on send to Postgres."""
    statements: list[str] = []
    make = asyncpg.Connection.__init__

    def note(record: Any) -> None:
        # Once per connection asyncpg asks the server about types it meets for the first time.
        if "pg_catalog." not in record.query and "current_setting('jit')" not in record.query:
            statements.append(record.query)

    def make_and_listen(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self.add_query_logger(note)

    monkeypatch.setattr(asyncpg.Connection, "__init__", make_and_listen)
    return statements


@pytest.fixture
def cost(sent: list[str], store: Any) -> Meter:
    """Runs a call and holds it to its budget."""

    async def measure(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        await store.instances.totals()  # A first call connects,
        await store.claims.owned("")  # and so does the engine's own first one.
        await asyncio.sleep(0)  # asyncpg tells of a statement one turn of the loop later.
        sent.clear()
        threads = {store._writer, store._reader} if store.dialect == "sqlite" else set()
        for thread in threads:
            await thread.read(lambda connection: connection.set_trace_callback(sent.append))
        answer = await call()
        await asyncio.sleep(0)
        statements = sent[:]
        for thread in threads:
            await thread.read(lambda connection: connection.set_trace_callback(None))
        assert len(statements) == BUDGET[name][store.dialect], statements
        return answer

    return measure


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_a_life_costs_the_same_for_few_and_for_many(given: Given, cost: Meter, count: int) -> None:
    store = given.store
    await given.node()
    rows = [given.new() for _ in range(count)]

    await cost("add", lambda: store.instances.add(rows))
    tagged = [given.new(queue="other", tags='{"region":"eu","tier":"gold"}') for _ in range(count)]
    await cost("add, tagged", lambda: store.instances.add(tagged))
    claims = await cost("claim", lambda: store.claims.take("default", NODE, KNOWN, 1_000, 5.0))
    assert len(claims) == count
    await cost("report", lambda: store.claims.report([(claim.id, 1, 0.5, "") for claim in claims]))
    await cost("release", lambda: store.claims.release([(claim.id, 1) for claim in claims]))
    claims = await cost("claim", lambda: store.claims.take("default", NODE, KNOWN, 1_000, 5.0))
    await cost("commit", lambda: store.claims.commit([settlement(claim) for claim in claims]))
    await cost("ended", lambda: store.instances.ended([row.id for row in rows]))
    deleted = await cost("prune", lambda: store.upkeep.prune(1_000, given.world.wall_us() + 10**9))
    assert deleted == count


@pytest.mark.parametrize("count", [3, 30])
async def test_a_difference_costs_one_statement_more(given: Given, cost: Meter, count: int) -> None:
    store = given.store
    await given.one(key="k", queue="other")
    rows = [given.new(key="k"), *(given.new() for _ in range(count))]

    assert len(await cost("add, one held", lambda: store.instances.add(rows))) == 1
    first, *others = await given.taken()
    await store.claims.release([(first.id, first.epoch)])
    committed = await cost("commit, one stale", lambda: store.claims.commit([settlement(c) for c in (first, *others)]))

    assert committed.stale == [first.id]


@pytest.mark.parametrize("count", [3, 30])
async def test_rounds_of_upkeep_cost_the_same_for_few_and_for_many(given: Given, cost: Meter, count: int) -> None:
    store = given.store
    await given.added(count, delay_s=60.0)

    due = await cost("promote", lambda: store.timers.promote(100, given.world.wall_us() + 10**9))
    assert due.promoted == count
    await given.taken()
    assert (await cost("reclaim", lambda: store.leases.reclaim(100, 5))).returned == count


async def test_looking_in_vain_costs_one_statement(given: Given, cost: Meter) -> None:
    store = given.store
    await given.node()

    assert await cost("claim, nothing there", lambda: store.claims.take("default", NODE, KNOWN, 1_000, 5.0)) == []
    await cost("promote, nothing due", lambda: store.timers.promote(100))
    await cost("reclaim, nothing lost", lambda: store.leases.reclaim(100, 5))
    await cost("prune, nothing expired", lambda: store.upkeep.prune(100))


async def test_reading_one_row_costs_one_statement(given: Given, cost: Meter) -> None:
    id = await given.one()

    assert await cost("get", lambda: given.store.instances.get(id))


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_signals_and_waits_cost_the_same_for_few_and_for_many(given: Given, cost: Meter, count: int) -> None:
    store, post = given.store, Post(given)
    claims = await given.claimed(count)

    await cost("park", lambda: store.claims.commit([parked(claim, "go") for claim in claims]))
    signals = [post.signal(claim.id) for claim in claims]
    await cost("send", lambda: store.signals.send(signals))
    claims = await given.taken()
    assert len(await cost("inbox", lambda: store.signals.inbox([claim.id for claim in claims]))) == count
    parks = [parked(claim, "go", consumed=[signal.id]) for claim, signal in zip(claims, signals, strict=True)]
    await store.signals.send([post.signal(claim.id) for claim in claims])
    committed = await cost("park, signals there", lambda: store.claims.commit(parks))
    assert committed.queues == ["default"]
    strangers = [post.signal(key=f"k{number}") for number in range(count)]
    await cost("send, nobody there", lambda: store.signals.send(strangers))
    await cost("add and send", lambda: store.instances.add_and_send(given.new(key="k"), post.signal(key="k")))


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_families_cost_the_same_for_few_and_for_many(given: Given, cost: Meter, count: int) -> None:
    """However many parents a batch has, and however many of their children end in one."""
    store = given.store
    parents = await given.claimed(count)
    families = [spawned(claim, [given.new() for _ in range(4)]) for claim in parents]

    await cost("spawn", lambda: store.claims.commit(families))
    children = await given.taken()
    by_parent = [[child for child in children if child.parent == claim.id] for claim in parents]
    await cost("end of children", lambda: store.claims.commit([ended(mine[0]) for mine in by_parent]))
    rest = [ended(child) for mine in by_parent for child in mine[1:]]
    committed = await cost("end of the last children", lambda: store.claims.commit(rest))
    assert committed.queues == ["default"]
    await given.one(key="k", queue="other")
    again = [spawned(claim, [given.new(key="k"), given.new()]) for claim in await given.taken()]
    await cost("spawn, one held", lambda: store.claims.commit(again))
    id = again[0].id
    stopped = await cost("cancel of a tree", lambda: store.instances.cancel(id, "{}", None, tree=True))
    assert len(stopped.ids) == 2


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_firing_costs_the_same_for_few_and_for_many(given: Given, cost: Meter, count: int) -> None:
    schedules = given.store.schedules
    await schedules.add(a_schedule())
    row = await schedules.get("nightly")
    assert row is not None

    await cost("glance at schedules", schedules.glance)
    assert await cost("fire", lambda: schedules.fire(row, [given.new(key=f"k{number}") for number in range(count)]))


@pytest.mark.parametrize("count", [1, 3, 500])
async def test_objects_cost_the_same_for_few_and_for_many(
    given: Given, owners: Owners, cost: Meter, count: int
) -> None:
    objects, ids = given.store.objects, [f"user-{number}" for number in range(count)]
    await given.node()
    await given.node(BOB)
    wishes = [wanted(id) for id in ids]

    found = await cost("activate", lambda: objects.activate(NODE, wishes))
    assert len(found.owned) == count
    elsewhere = await cost("activate, some elsewhere", lambda: objects.activate(BOB, [*wishes, wanted("new")]))
    assert (len(elsewhere.owned), len(elsewhere.elsewhere)) == (1, count)
    held = sorted(found.owned)
    assert await cost("save", lambda: objects.save(NODE, [commit(each) for each in held])) == []
    again = [commit(each._replace(epoch=9)) for each in held[:1]] + [commit(after(each)) for each in held[1:]]
    assert len(await cost("save, one stale", lambda: objects.save(NODE, again))) == 1
    keys = [(each.type, each.id, each.epoch) for each in held]
    assert len(await cost("owned objects", lambda: objects.owned(NODE, keys))) == count
    await given.store.leases.retire(NODE)
    assert len((await cost("take over", lambda: objects.activate(BOB, wishes))).owned) == count
    assert await cost("release", lambda: objects.release(BOB, [(*key[:2], 2) for key in keys])) == count
    assert await cost("release all objects", lambda: objects.release(BOB, None)) == 1
    await cost("prune objects, nothing expired", lambda: objects.prune(1_000))
    held = sorted((await objects.activate(BOB, wishes)).owned)
    assert await objects.save(BOB, [commit(each, expires_s=0.0) for each in held]) == []
    await objects.release(BOB, None)
    assert await cost("prune objects", lambda: objects.prune(1_000)) == count


@pytest.mark.parametrize("count", [1, 3, 30])
async def test_what_commits_carry_costs_the_same_for_few_and_for_many(
    given: Given, owners: Owners, cost: Meter, count: int
) -> None:
    store = given.store
    held = await owners.owned(*(f"{number}" for number in range(count)))
    calls = [owners.call(each.id, sender=BOB) for each in held]
    keyed = [owners.call(each.id, key="k") for each in held]
    types = [TYPE, "b", "c"]

    await cost("post", lambda: store.calls.post([*calls, *keyed]))
    await cost("post, keys known", lambda: store.calls.post([owners.call(each.id, key="k") for each in held]))
    assert len(await cost("waiting calls", lambda: store.calls.waiting(NODE, [TYPE], 100))) == 2 * count
    await cost("waiting calls of three types", lambda: store.calls.waiting(NODE, types, 100))
    names = ("a", "b", "c", "d")
    first = [commit(each, alarms=[alarm(each, name) for name in names]) for each in held]
    assert await cost("save with alarms", lambda: store.objects.save(NODE, first)) == []
    assert len((await cost("due alarms", lambda: store.alarms.due(NODE, [TYPE], 1_000))).alarms) == 4 * count
    await cost("due alarms of three types", lambda: store.alarms.due(NODE, types, 1_000))
    full = [
        commit(
            after(each),
            moved=[AlarmMove("a", "r1"), AlarmMove("b", "r1", delay_s=9.0)],
            clears_alarms=True,
            cancelled=["c", "d"],
            alarms=[alarm(each, "e")],
            sends=[owners.call("else")],
            answers=[Answer(call.call, "1", None)],
        )
        for each, call in zip(held, calls, strict=True)
    ]
    assert await cost("save with all", lambda: store.objects.save(NODE, full)) == []
    ids = [call.call for call in calls]
    assert len(await cost("answers", lambda: store.calls.answers(ids))) == count
    await cost("drop calls", lambda: store.calls.drop(ids))
    await cost("prune calls", lambda: store.calls.prune(100))
    await cost("set alarms", lambda: store.alarms.set([alarm(each) for each in held]))
