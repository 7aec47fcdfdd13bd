"""Tags: given by whoever starts, found by anybody."""

from collections.abc import Mapping
from typing import Any

import pytest

from outlast import Await, Child, Done, Engine, Machine, Spawn, job, step
from outlast.errors import ArgumentError, ConfigError, NotFound
from outlast.testing import by_hand, drain
from tests.engine.given import Engines, own_connection

EU = {"region": "eu"}
BOTH = {"customer": "42", "region": "eu"}


@job(name="test_tags.one")
async def one() -> None: ...


@job(name="test_tags.fails", max_attempts=1)
async def fails() -> None:
    raise ValueError


class Family(Machine, name="test_tags.family"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([Child(one.new(), tags=EU), one.new()], then=self.over)

    @step
    async def over(self, ctx: Any) -> Any:
        return Done()


class Waits(Machine, name="test_tags.waits"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Await(["paid", "called off"], then=self.over)

    @step
    async def over(self, ctx: Any) -> Any:
        return Done()


async def ids(engine: Engine, **filters: Any) -> list[str]:
    return [found.id for found in await engine.list(**filters)]


async def test_whatever_way_it_is_started_it_is_found(engines: Engines, store_url: str) -> None:
    engine = await engines.open(queues={})
    first = await engine.start(one.new(), tags=BOTH)
    many = await engine.start_many([one.new(), Waits()], tags=EU)
    signalled, _ = await engine.signal_or_start(Waits(), "paid", correlation_key="k", tags=EU)
    await engine.schedule(one.new(), "@yearly", name="yearly", tags=EU)
    run = await engine.trigger_schedule("yearly")
    await engine.start(one.new(), tags={"region": "us"})
    await engine.start(one.new())
    with own_connection(store_url) as connection:
        enlisted = await engine.start(one.new(), tags=EU, connection=connection)
        connection.commit()

    everything = sorted([first.id, *(handle.id for handle in many), signalled.id, run.id, enlisted.id])
    assert sorted(await ids(engine, tags=EU)) == everything
    assert await ids(engine, tags=BOTH) == [first.id]
    assert (await engine.get(first.id)).tags == BOTH
    assert (await engine.get_schedule("yearly")).tags == EU


async def test_children_have_the_tags_that_their_parent_gives_them() -> None:
    async with by_hand() as engine:
        parent = await engine.start(Family(), tags=BOTH)
        await drain(engine)

        tagged, plain = await engine.children(parent)

        assert (tagged.tags, plain.tags) == (EU, {})
        assert await ids(engine, tags=EU) == [tagged.id, parent.id]
        assert await ids(engine, tags=EU, roots=True) == [parent.id]


async def test_tagged_lists_have_pages_and_other_filters(engines: Engines) -> None:
    engine = await engines.open(queues={})
    made = [handle.id for handle in await engine.start_many((one.new() for _ in range(25)), tags=EU)]
    await engine.start_many([Waits()], tags=EU)

    found = [item.id async for item in engine.list_all(page=4, program="test_tags.one", tags=EU)]

    assert found == made[::-1]
    assert await ids(engine, tags=EU, status="done") == []


async def test_a_schedule_gets_other_tags_for_its_later_runs(engines: Engines) -> None:
    engine = await engines.open(queues={})
    await engine.schedule(one.new(), "@yearly", name="yearly", tags=EU)
    before = await engine.trigger_schedule("yearly")

    changed = await engine.update_schedule("yearly", tags={"region": "us"})
    after = await engine.trigger_schedule("yearly", one.new())

    assert changed.tags == (await after.get()).tags == {"region": "us"}
    assert (await before.get()).tags == EU
    assert (await engine.update_schedule("yearly", priority=1)).tags == {"region": "us"}
    assert (await engine.schedule(one.new(), "@yearly", name="yearly")).tags == {}


async def test_tags_are_set_from_outside(engines: Engines) -> None:
    engine = await engines.open(queues={})
    handle = await engine.start(one.new(), tags=EU)

    assert await engine.set_tags(handle.id, {"region": "us", "tier": "gold"}) == {"region": "us", "tier": "gold"}
    assert await engine.set_tags(handle.id, {"region": None}) == {"tier": "gold"}

    assert await ids(engine, tags={"tier": "gold"}) == [handle.id]
    assert await ids(engine, tags=EU) == []
    with pytest.raises(NotFound):
        await engine.set_tags("0190a2b3-0000-7000-8000-000000000000", EU)
    with pytest.raises(ConfigError, match="with these it would have 21"):
        await engine.set_tags(handle.id, {f"t{number}": "x" for number in range(20)})
    assert (await engine.get(handle.id)).tags == {"tier": "gold"}


@pytest.mark.parametrize(
    ("tags", "complaint"),
    [
        ("region=eu", "tags must be texts by name"),
        (["region"], "tags must be texts by name"),
        ({"region": 42}, "tag 'region' must be text, not 42"),
        ({"region": None}, "tag 'region' must be text, not None"),
        ({"region": ""}, "tag 'region' must be 1 to 200 printable characters"),
        ({"region": "x" * 201}, "tag 'region' must be 1 to 200"),
        ({"region": "a\nb"}, "printable"),
        ({"": "eu"}, "a tag's name must be 1 to 200"),
        ({7: "eu"}, "a tag's name must be text, not 7"),
        ({f"t{number}": "x" for number in range(21)}, "20 tags at most, not 21"),
    ],
    ids=str,
)
async def test_a_wrong_tag_is_refused_and_nothing_is_stored(engine: Engine, tags: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await engine.start(one.new(), tags=tags)
    with pytest.raises(ConfigError, match=complaint):
        await engine.list(tags=tags)

    assert await engine.totals() == {}


async def test_a_filter_that_there_is_not_is_named(engine: Engine) -> None:
    with pytest.raises(ArgumentError, match="there is no filter 'stauts'; did you mean 'status'"):
        await engine.list(stauts="done")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="roots must be true or false"):
        await engine.totals(roots="yes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="by must be one of status, program, queue"):
        await engine.totals(by="node")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a signal's name must be"):
        await engine.list(waiting_for="")


async def test_who_waits_for_a_signal_is_listed_by_its_name() -> None:
    async with by_hand() as engine:
        waits = await engine.start(Waits(), tags=EU)
        await engine.start(one.new())
        await drain(engine)
        await engine.start(Waits())

        assert await ids(engine, waiting_for="paid") == await ids(engine, waiting_for="called off") == [waits.id]
        assert await ids(engine, waiting_for="paid", tags=EU) == [waits.id]
        assert await ids(engine, waiting_for="nothing") == []
        await engine.signal(waits, "paid")
        assert await ids(engine, waiting_for="paid") == []


async def test_counts_under_a_filter_by_program_and_of_children() -> None:
    async with by_hand() as engine:
        parent = await engine.start(Family(), tags=EU)
        await engine.start_many([fails.new(), fails.new()], tags=EU)
        await engine.start(one.new(), queue="side")
        await drain(engine)

        assert await engine.totals(by="program") == {
            "test_tags.family": 1,
            "test_tags.one": 3,
            "test_tags.fails": 2,
        }
        assert await engine.totals(program="test_tags.one", queue="default") == {"done": 2}
        assert await engine.totals(tags=EU) == {"done": 2, "failed": 2}
        assert await engine.totals(parent=parent) == await engine.totals(parent=parent.id) == {"done": 2}
        assert await engine.totals(roots=True, status="done", by="queue") == {"default": 1, "side": 1}
        assert await engine.totals() == {"done": 4, "failed": 2}


@pytest.fixture
async def ended(store_url: str) -> Any:
    """An engine with three failed instances, two done ones, and one that waits with a child that is done."""
    async with by_hand(url=store_url) as engine:
        await engine.start_many([fails.new() for _ in range(3)], tags=EU)
        await engine.start_many([one.new(), one.new()])
        await engine.start(Waits())
        await drain(engine)
        yield engine


async def test_what_would_be_deleted_is_counted_before(ended: Engine) -> None:
    assert await ended.delete_many(status="failed", dry_run=True) == 3
    assert await ended.totals() == {"failed": 3, "done": 2, "waiting": 1}

    assert await ended.delete_many(status="failed") == 3

    assert await ended.totals() == {"done": 2, "waiting": 1}
    assert await ended.delete_many(status="failed") == 0
    assert await ids(ended, tags=EU) == []


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"older_than": 0}, {"waiting": 1}),
        ({"older_than": 3600}, {"failed": 3, "done": 2, "waiting": 1}),
        ({"tags": EU}, {"done": 2, "waiting": 1}),
        ({"program": "test_tags.one", "older_than": 0}, {"failed": 3, "waiting": 1}),
        ({"program": "test_tags.waits"}, {"failed": 3, "done": 2, "waiting": 1}),
        ({"status": ["done", "failed"], "roots": True}, {"waiting": 1}),
    ],
    ids=str,
)
async def test_only_what_fits_and_has_ended_is_deleted(ended: Engine, filters: Any, left: Mapping[str, int]) -> None:
    would = await ended.delete_many(**filters, dry_run=True)

    assert await ended.delete_many(**filters) == would == 6 - sum(left.values())

    assert await ended.totals() == left


async def test_many_are_deleted_batch_by_batch(ended: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.engine.searches._BATCH", 2)

    assert await ended.delete_many(older_than=0, dry_run=True) == 5
    assert await ended.delete_many(older_than=0) == 5


async def test_children_of_live_parents_are_spared() -> None:
    class Parent(Machine, name="test_tags.parent"):
        @step
        async def start(self, ctx: Any) -> Any:
            return Spawn([one.new(), Waits()], then=self.over)

        @step
        async def over(self, ctx: Any) -> Any:
            return Done()

    async with by_hand(programs=[Parent, Waits, one]) as engine:
        parent = await engine.start(Parent())
        await drain(engine)
        first, second = await engine.children(parent)
        assert first.status == "done"

        assert await engine.delete_many(program="test_tags.one") == 0

        await engine.signal(second.id, "paid")
        await drain(engine)
        assert await engine.delete_many(older_than=0) == 3


async def test_deleting_many_needs_a_filter_and_means_what_has_ended(engine: Engine) -> None:
    with pytest.raises(ConfigError, match="delete_many needs a filter; older_than=0 means all"):
        await engine.delete_many()
    with pytest.raises(ConfigError, match="needs a filter"):
        await engine.delete_many(roots=False, status=None, dry_run=True)
    with pytest.raises(ConfigError, match="not what is 'waiting'"):
        await engine.delete_many(status=["done", "waiting"])
    with pytest.raises(ConfigError, match="older_than"):
        await engine.delete_many(older_than=-1)
