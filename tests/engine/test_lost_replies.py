"""The database did it, and the answer was lost."""

import asyncio
from typing import Any, cast

import pytest

from harness.waiting import eventually_async
from outlast import Engine, InstanceFailed, backoff, job
from outlast.errors import EncodingError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tests.engine.given import SOON_S, Ear, Engines, Spoilt, Table, Tally, soon


class Work:
    """A job that notes its executions."""

    def __init__(self) -> None:
        self.begun = Tally()
        self.gate = asyncio.Event()
        self.gate.set()

        @job(name="test_lost_replies.work")
        async def work(number: int = 0) -> int:
            self.begun.add(number)
            await self.gate.wait()
            return number

        self.job = work


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_claim_whose_reply_was_lost_is_back_long_before_the_lease(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = await engines.open(lease=600, queues={"default": 3})
    ear, take = Ear(engine), Spoilt(engine._store.claims, "take")
    await engine.pause_queue("default")
    handles = await engine.start_many(work.job.new(number=number) for number in range(3))
    take.lose_replies(1, full=True)

    await engine.resume_queue("default")

    results = [await handle.result(SOON_S) for handle in handles]
    assert results == [0, 1, 2]
    assert (await ear.hears("claims.orphaned"))["count"] == 3
    assert table.query("SELECT DISTINCT epoch, crashes, attempt, commits FROM {instances}") == [(2, 0, 0, 1)]
    assert work.begun.count == 3


async def test_a_claim_that_was_refused_is_tried_again(engine: Engine, work: Work) -> None:
    take = Spoilt(engine._store.claims, "take")
    take.refuse(3)

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7


async def test_a_claim_loop_survives_an_error_that_nobody_expected(engine: Engine, work: Work) -> None:
    ear, take = Ear(engine), Spoilt(engine._store.claims, "take")
    take.refuse(2, lambda: ZeroDivisionError("a bug of ours"))

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7
    assert "a bug of ours" in ear.all("loop.failed", loop="lane default")[0]["error"]


async def test_a_commit_whose_reply_was_lost_is_not_stale_and_not_run_again(
    engine: Engine, work: Work, table: Table
) -> None:
    ear, commit = Ear(engine), Spoilt(engine._store.claims, "commit")
    commit.lose_replies(2)

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7
    await ear.hears("commit.stop", count=1, stale=0)
    assert ear.all("claim.stale") == []
    assert (work.begun.count, commit.calls) == (1, 3)
    assert (table.seen(handle.id, "commits"), table.seen(handle.id, "epoch")) == (1, 1)


@pytest.mark.parametrize("error", [StoreUnavailable, StoreFull, StoreReadOnly])
async def test_a_commit_waits_for_the_database_as_long_as_it_takes(
    engine: Engine, work: Work, error: type[StoreError]
) -> None:
    ear, commit = Ear(engine), Spoilt(engine._store.claims, "commit")
    commit.refuse(4, lambda: error("not now"))

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7
    assert work.begun.count == 1
    assert len(ear.all("store.away", loop="committer")) == 1
    assert len(ear.all("store.back", loop="committer")) == 1


async def test_one_poisoned_outcome_in_a_batch_of_a_hundred_fails_alone(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = await engines.open(queues={"default": 100})
    ear = Ear(engine)
    work.gate.clear()
    handles = await engine.start_many(work.job.new(number=number) for number in range(100))
    await work.begun.reaches(100)
    poison = handles[37].id
    real = engine._store.claims.commit
    sizes: list[int] = []

    async def picky(batch: Any) -> Any:
        sizes.append(len(batch))
        if any(item.id == poison and item.status == "done" for item in batch):
            raise StoreError("value out of range")
        return await real(batch)

    engine._store.claims.commit = picky  # type: ignore[method-assign]
    work.gate.set()

    for number, handle in enumerate(handles):
        if handle.id == poison:
            with pytest.raises(InstanceFailed, match="the database refused the outcome: value out of range"):
                await handle.result(SOON_S)
        else:
            assert await handle.result(SOON_S) == number
    assert await engine.totals() == {"done": 99, "failed": 1}
    assert work.begun.count == 100
    assert sizes[0] == 100
    assert len(sizes) <= 1 + 2 * 7 + 1  # halves, down to the one; and its plain record.
    assert ear.all("outcome.refused", id=poison)


async def test_a_commit_that_broke_in_our_own_code_is_given_back_and_run_again(
    engines: Engines, work: Work, table: Table
) -> None:
    engine = await engines.open(lease=1.5)
    ear, commit = Ear(engine), Spoilt(engine._store.claims, "commit")
    commit.refuse(1, lambda: ZeroDivisionError("a bug of ours"))

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7
    await ear.hears("loop.failed", loop="committer")
    assert (work.begun.count, table.seen(handle.id, "commits"), table.seen(handle.id, "attempt")) == (2, 1, 0)


async def test_a_start_whose_reply_was_lost_is_started_once(engine: Engine, work: Work) -> None:
    add = Spoilt(engine._store.instances, "add")
    add.lose_replies(2)

    handle = await engine.start(work.job.new(number=7))

    assert await handle.result(SOON_S) == 7
    assert await engine.totals() == {"done": 1}
    assert work.begun.count == 1


async def test_a_start_does_not_conflict_with_its_own_first_try(engine: Engine, work: Work) -> None:
    add = Spoilt(engine._store.instances, "add")
    add.lose_replies(1)
    work.gate.clear()

    handle = await engine.start(work.job.new(number=7), correlation_key="order:7")

    work.gate.set()
    assert await handle.result(SOON_S) == 7


async def test_many_starts_whose_reply_was_lost_are_started_once(engine: Engine, work: Work) -> None:
    add = Spoilt(engine._store.instances, "add")
    add.lose_replies(1)

    handles = await soon(asyncio.gather(*(engine.start(work.job.new(number=number)) for number in range(40))))

    assert [await handle.result(SOON_S) for handle in handles] == list(range(40))
    assert await engine.totals() == {"done": 40}


async def test_a_start_that_the_database_refuses_for_long_is_told_so(
    engine: Engine, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast._runtime.gather.GIVE_UP_S", 0.1)
    add = Spoilt(engine._store.instances, "add")
    add.refuse(1_000)

    with pytest.raises(StoreUnavailable, match="connection was lost"):
        await engine.start(work.job.new())

    add.mend()
    assert await (await engine.start(work.job.new(number=1))).result(SOON_S) == 1


async def test_a_row_that_the_database_refuses_does_not_cost_others_their_start(engine: Engine, work: Work) -> None:
    real = engine._store.instances.add

    async def picky(rows: Any) -> Any:
        await asyncio.sleep(0)
        if any('"number":13' in row.state for row in rows):
            raise StoreError("value out of range")
        return await real(rows)

    engine._store.instances.add = picky  # type: ignore[method-assign]

    answers = await soon(
        asyncio.gather(*(engine.start(work.job.new(number=number)) for number in range(30)), return_exceptions=True)
    )

    assert [number for number, answer in enumerate(answers) if isinstance(answer, StoreError)] == [13]
    for number, answer in enumerate(answers):
        if number != 13:
            assert await answer.result(SOON_S) == number  # type: ignore[union-attr]


@pytest.mark.parametrize("call", ["cancel", "retry", "delete"])
async def test_an_operators_call_whose_reply_was_lost_still_succeeds(engine: Engine, work: Work, call: str) -> None:
    await engine.pause_queue("default")
    handle = await engine.start(work.job.new())
    if call == "retry":
        await handle.cancel()
    Spoilt(engine._store.acts if call == "retry" else engine._store.instances, call).lose_replies(1)

    answer = await getattr(engine, call)(handle.id)

    if call == "delete":
        assert await engine.totals() == {}
    else:
        assert answer.status == {"cancel": "cancelled", "retry": "ready"}[call]


async def test_a_release_whose_reply_was_lost_harms_nothing(engines: Engines, work: Work, table: Table) -> None:
    engine = engines.new(drain_timeout=0)
    work.gate.clear()
    async with engine:
        handle = await engine.start(work.job.new())
        await work.begun.reaches(1)
        Spoilt(engine._store.claims, "release").lose_replies(2)

    columns = ("status", "attempt", "crashes", "epoch")
    assert [table.seen(handle.id, column) for column in columns] == ["ready", 0, 0, 1]


async def test_a_promotion_whose_reply_was_lost_leaves_nothing_behind(engines: Engines, work: Work) -> None:
    # The instance is ready, and nobody was woken: the next look at the queue finds it.
    engine = await engines.open(poll_interval=0.1, max_poll_interval=0.1)
    Spoilt(engine._store.timers, "promote").lose_replies(3)

    handle = await engine.start(work.job.new(number=7), schedule_in=0.05)

    assert await handle.result(SOON_S) == 7


@pytest.mark.parametrize(
    ("noun", "method"),
    [("timers", "promote"), ("leases", "beats"), ("leases", "reclaim"), ("upkeep", "prune"), ("claims", "owned")],
)
@pytest.mark.parametrize("error", [StoreUnavailable("away"), ZeroDivisionError("a bug of ours")], ids=["away", "bug"])
async def test_every_loop_survives_an_error_and_goes_on(
    engines: Engines, work: Work, noun: str, method: str, error: Exception
) -> None:
    engine = engines.new(reap_interval=0.02, prune_interval=0.02, lease=0.3, poll_interval=0.02, max_poll_interval=60)
    ear = Ear(engine)
    async with engine:
        spoilt = Spoilt(getattr(engine._store, noun), method)
        spoilt.refuse(2, lambda: error)

        await ear.hears("store.away")
        await ear.hears("store.back")

        assert spoilt.calls >= 3
        assert await (await engine.start(work.job.new(number=7))).result(SOON_S) == 7


async def test_a_user_error_that_looks_like_ours_is_the_users(engine: Engine) -> None:
    @job(max_attempts=2, backoff=backoff.constant(0))
    async def broken(kind: str) -> None:
        raise {"store": StoreUnavailable("mine"), "encoding": EncodingError("mine")}[kind]

    for kind, runs in (("store", 2), ("encoding", 1)):
        handle = await engine.start(broken.new(kind=kind))
        with pytest.raises(InstanceFailed, match="mine"):
            await handle.result(SOON_S)
        assert (await handle.get()).attempt == runs


async def test_a_claim_that_is_slow_to_answer_is_not_given_back_and_run_anyway(engines: Engines) -> None:
    """Its rows are ours without our knowing: given back, they would run beside us, and a key would have two steps."""
    gate = asyncio.Event()
    running: list[str] = []
    most: list[int] = []

    @job(name="test_lost_replies.alone")
    async def alone(number: int) -> None:
        running.append("x")
        most.append(len(running))
        await asyncio.sleep(0)
        running.pop()

    slow = await engines.open(queues={"default": 1}, lease=1.0, poll_interval=0.05)
    ear = Ear(slow)
    claims = cast(Any, slow._store.claims)
    real = claims.take
    held = asyncio.Event()

    async def late(*args: Any, **options: Any) -> Any:
        taken = await real(*args, **options)
        if taken and not gate.is_set():
            held.set()
            await gate.wait()
        return taken

    claims.take = late
    handle = await slow.start(alone.new(number=1), concurrency_key="k")
    await soon(held.wait())
    looked = Spoilt(slow._store.claims, "owned")
    await eventually_async(lambda: looked.calls >= 4)
    gate.set()
    await handle.result(SOON_S)

    assert ear.all("claims.orphaned") == []
    assert (await handle.get()).epoch == 1
    assert most == [1]
