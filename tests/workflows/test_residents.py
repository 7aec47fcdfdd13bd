"""Code that stays in memory while its workflow waits: when it goes on, when not, and that nothing is left of it."""

import asyncio
import contextvars
import gc
import logging
import random
import threading
from asyncio import events
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from weakref import WeakSet

import pytest

from harness.waiting import eventually_async
from outlast import (
    Engine,
    Queue,
    backoff,
    call_child,
    current_step,
    each,
    hours,
    parallel,
    sleep,
    step,
    wait_for_all,
    wait_for_any,
    wait_for_signal,
    workflow,
)
from outlast._runtime.run import CURRENT
from outlast.testing import (
    assert_done,
    assert_failed,
    assert_status,
    by_hand,
    clock_of,
    crash_after_commit,
    crash_before_commit,
    drain,
    run_step_twice,
)
from outlast.workflows.loop import FlowLoop
from tests.engine.given import SOON_S, Engines, Table
from tests.workflows.programs import SEEN, flaky, payment, reserve, ship, side_by_side

Hands = Callable[..., Any]


@pytest.fixture
def residents_max() -> int:
    """Here much stays, unless a test says otherwise."""
    return 1_000


@pytest.fixture
async def hands(store_url: str) -> AsyncIterator[Hands]:
    """Opens engines on one database that are run by hand."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Engine:
            options = {"residents_max": 1_000, "max_crashes": 50} | options
            return await stack.enter_async_context(by_hand(url=store_url, **options))

        yield open_one


def staying(engine: Engine) -> int:
    """How much code is in an engine's memory."""
    return len(engine._running().residents)


def count_reads(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is read of the journal from now on: ids, or waits."""
    journal, reads = engine._store.journal, []
    notes, left = journal.notes, journal.left

    async def read_notes(ids: Any) -> Any:
        reads.append(list(ids))
        return await notes(ids)

    async def read_left(waits: Any) -> Any:
        reads.append([key for _, key in waits])
        return await left(waits)

    monkeypatch.setattr(journal, "notes", read_notes)
    monkeypatch.setattr(journal, "left", read_left)
    return reads


@workflow(name="residents.two_waits")
async def two_waits() -> list[Any]:
    SEEN.append("code")
    await reserve(1)
    first = await wait_for_signal("go")
    await reserve(2)
    second = await wait_for_signal("go")
    await reserve(3)
    return [first, second]


# What wakes it.


async def test_each_kind_of_waking_goes_on_from_where_it_is(hand: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow
    async def parent() -> list[Any]:
        SEEN.append("code")
        got = [await wait_for_signal("go")]
        got.append(await call_child(payment.new(60.0)))
        got.append(await flaky(2))
        await sleep(hours(1))
        got.append(await wait_for_signal("never", timeout=60))
        return got

    reads = count_reads(hand, monkeypatch)
    handle = await hand.start(parent.new())
    await drain(hand)
    await hand.signal(handle, "go", 1)
    await drain(hand)
    (child,) = await hand.children(handle)
    await hand.signal(child, "paid", 2)
    for _ in range(4):
        await drain(hand)
        clock_of(hand).jump(hours(1))
    await drain(hand)

    assert await assert_done(hand, handle) == [1, 2, 2, "timeout"]
    assert SEEN.count("code") == 1
    assert reads == [["signal:paid#1"], ["flaky#1"], ["sleep#1"], ["signal:never#1"]]
    assert staying(hand) == 0


async def test_a_long_journal_is_not_read_again(hand: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow
    async def long() -> int:
        found = [await ship(number) for number in range(50)]
        await wait_for_signal("go")
        return sum(found)

    handle = await hand.start(long.new())
    await drain(hand)
    reads = count_reads(hand, monkeypatch)
    await hand.signal(handle, "go")
    await drain(hand)

    assert await assert_done(hand, handle) == sum(range(50))
    assert reads == []


async def test_its_own_timeout_comes_to_code_that_stays(hand: Engine) -> None:
    @workflow(timeout=100)
    async def slow() -> None:
        await wait_for_signal("a")
        await wait_for_signal("b")

    handle = await hand.start(slow.new())
    await drain(hand)
    await hand.signal(handle, "a")
    clock_of(hand).jump(60)
    await drain(hand)
    await hand.signal(handle, "b")
    clock_of(hand).jump(60)
    await drain(hand)

    error = await assert_failed(hand, handle)
    assert "WorkflowTimeout" in str(error)


# When in doubt.


async def test_code_is_left_when_another_engine_went_on_with_it(hands: Hands) -> None:
    one, two = await hands(), await hands()
    handle = await one.start(two_waits.new())
    await drain(one)
    await one.signal(handle, "go", 1)
    await drain(two)
    await two.signal(handle, "go", 2)
    assert (staying(one), staying(two)) == (1, 1)
    await drain(one)

    assert await assert_done(one, handle) == [1, 2]
    assert SEEN == ["code", "reserve 1", "code", "reserve 2", "code", "reserve 3"]
    assert staying(one) == 0
    await two.signal(handle, "go", 3)
    await drain(two)
    assert SEEN.count("code") == 3


async def test_code_is_left_when_another_process_died_with_it(hand: Engine, table: Table) -> None:
    handle = await hand.start(two_waits.new())
    await drain(hand)
    (epoch,) = table.query("SELECT epoch FROM {instances}")[0]
    table.poke(handle.id, epoch=epoch + 1)  # claimed elsewhere, and given back with nothing written.
    await hand.signal(handle, "go", 1)
    await drain(hand)

    assert SEEN == ["code", "reserve 1", "code", "reserve 2"]
    await hand.signal(handle, "go", 2)
    await drain(hand)
    assert await assert_done(hand, handle) == [1, 2]
    assert SEEN == ["code", "reserve 1", "code", "reserve 2", "reserve 3"]


async def test_a_park_that_is_refused_leaves_its_code(hand: Engine, table: Table) -> None:
    @workflow
    async def waits() -> Any:
        SEEN.append("code")
        if len(SEEN) == 1:  # in the middle of it, behind its back: another process has taken over.
            table.poke(handle.id, epoch=9, status="ready", node=None)
        return await wait_for_signal("go")

    handle = await hand.start(waits.new())
    await drain(hand)
    assert SEEN == ["code", "code"]
    assert staying(hand) == 1
    await hand.signal(handle, "go", 1)
    await drain(hand)

    assert await assert_done(hand, handle) == 1
    assert SEEN == ["code", "code"]


async def test_a_commit_that_is_refused_after_going_on_leaves_it(hand: Engine, table: Table) -> None:
    @step
    async def work() -> str:
        SEEN.append("work")
        if SEEN.count("work") == 1:
            table.poke(handle.id, epoch=9, status="ready", node=None)
        return "worked"

    @workflow
    async def waits() -> Any:
        SEEN.append("code")
        try:
            await wait_for_signal("go")
            return await work()
        finally:
            SEEN.append("left")

    handle = await hand.start(waits.new())
    await drain(hand)
    await hand.signal(handle, "go")
    await drain(hand)

    assert await assert_done(hand, handle) == "worked"
    assert SEEN == ["code", "work", "left", "code", "work", "left"]
    assert staying(hand) == 0


@pytest.mark.parametrize("crash", [crash_before_commit, crash_after_commit, run_step_twice])
async def test_nothing_stays_of_a_process_that_died(hand: Engine, crash: Any) -> None:
    handles = [await hand.start(two_waits.new()) for _ in range(2)]
    await drain(hand)
    assert staying(hand) == 2
    for handle in handles:
        await hand.signal(handle, "go", 1)
    with crash(hand, step=reserve):
        await drain(hand)
    for handle in handles:
        await hand.signal(handle, "go", 2)
    await drain(hand)

    for handle in handles:
        assert await assert_done(hand, handle) == [1, 2]
    assert SEEN.count("code") == 4  # the one that was struck, and the one that was in the same memory.
    assert SEEN.count("reserve 2") == (2 if crash is crash_after_commit else 3)


async def test_cancelled_code_is_left_at_once_and_a_retry_runs_anew(hand: Engine) -> None:
    @workflow
    async def waits() -> Any:
        SEEN.append("code")
        try:
            await reserve(1)
            return await wait_for_signal("go")
        finally:
            SEEN.append("left")
            await reserve(2)

    handle = await hand.start(waits.new())
    await drain(hand)
    assert staying(hand) == 1

    await hand.cancel(handle.id)
    assert staying(hand) == 0
    assert SEEN == ["code", "reserve 1", "left"]

    await hand.retry(handle.id)
    await drain(hand)
    await hand.signal(handle, "go", 1)
    await drain(hand)
    assert await assert_done(hand, handle) == 1
    assert SEEN == ["code", "reserve 1", "left", "code", "left", "reserve 2"]


async def test_what_was_cancelled_and_retried_elsewhere_is_not_gone_on_with(hands: Hands) -> None:
    one, two = await hands(), await hands()
    handle = await one.start(two_waits.new())
    await drain(one)
    await two.cancel(handle.id)
    await two.retry(handle.id)
    await drain(one)
    await one.signal(handle, "go", 1)
    await one.signal(handle, "go", 2)
    await drain(one)

    assert await assert_done(one, handle) == [1, 2]
    assert SEEN == ["code", "reserve 1", "code", "reserve 2", "reserve 3"]


async def test_what_is_undone_does_not_stay(hand: Engine) -> None:
    @step(max_attempts=2, backoff=backoff.constant(60))
    async def refund() -> None:
        SEEN.append("refund")
        if SEEN.count("refund") == 1:
            raise ValueError("not now")

    @step(compensate=refund)
    async def pay() -> None:
        SEEN.append("pay")

    @workflow
    async def saga() -> None:
        await pay()
        await wait_for_signal("go")
        raise RuntimeError("and then")

    handle = await hand.start(saga.new())
    await drain(hand)
    await hand.signal(handle, "go")
    await drain(hand)
    assert staying(hand) == 0
    clock_of(hand).jump(60)
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["pay", "refund", "refund"]


# Bounds.


async def test_beyond_the_bound_code_runs_anew_when_its_signal_comes(hands: Hands) -> None:
    hand = await hands(residents_max=1)
    handles = [await hand.start(two_waits.new()) for _ in range(3)]
    await drain(hand)
    assert staying(hand) == 1
    for number, handle in enumerate(handles):
        await hand.signal(handle, "go", number)
        await hand.signal(handle, "go", "over")
    await drain(hand)

    assert [await assert_done(hand, handle) for handle in handles] == [[0, "over"], [1, "over"], [2, "over"]]
    assert (SEEN.count("code"), SEEN.count("reserve 1"), staying(hand)) == (5, 3, 0)


async def test_code_that_goes_between_the_claim_and_its_turn_runs_anew(
    hand: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await hand.start(two_waits.new())
    await drain(hand)
    await hand.signal(handle, "go", 1)
    await hand.signal(handle, "go", 2)
    executor = hand._running().executor
    start = executor.start

    def start_later(claim: Any, slot: Any) -> bool:
        assert claim.left == {}
        hand._running().residents.drop_all()
        return start(claim, slot)

    monkeypatch.setattr(executor, "start", start_later)
    await drain(hand)

    assert await assert_done(hand, handle) == [1, 2]
    assert SEEN == ["code", "reserve 1", "code", "reserve 2", "reserve 3"]


async def test_old_code_is_left_by_itself_and_runs_anew(engines: Engines) -> None:
    @workflow
    async def waits() -> Any:
        SEEN.append("code")
        try:
            return await wait_for_signal("go")
        finally:
            SEEN.append("left")

    engine = await engines.open(residents_age=0.1)
    handle = await engine.start(waits.new())
    await eventually_async(lambda: SEEN == ["code", "left"])
    await engine.signal(handle, "go", 1)

    assert await handle.result(SOON_S) == 1
    assert SEEN == ["code", "left", "code", "left"]


async def test_thousands_wait_and_few_hold_memory(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held:
        """Something in a workflow's own code."""

    held: WeakSet[Held] = WeakSet()
    left: list[int] = []

    @workflow
    async def waits(number: int) -> None:
        mine = Held()
        held.add(mine)
        try:
            await wait_for_signal("go", timeout=hours(1))
        finally:
            left.append(number)
            await reserve(number)
            del mine

    loops: WeakSet[FlowLoop] = WeakSet()
    make = FlowLoop.__init__

    def note(loop: FlowLoop, flow: Any) -> None:
        make(loop, flow)
        loops.add(loop)

    monkeypatch.setattr(FlowLoop, "__init__", note)
    caplog.set_level(logging.WARNING)
    gc.collect()
    gc.disable()  # nothing is left for the collector.
    try:
        async with Engine(sqlite_url, programs=(), queues={"default": Queue(200)}, residents_max=1_000) as engine:
            handles = await engine.start_many(waits.new(number) for number in range(5_000))
            await eventually_async(lambda: len(left) == 4_000, timeout=60)
            await eventually_async(lambda: len(engine._running().executor.running) == 0)
            assert (len(held), staying(engine), len(loops)) == (1_000, 1_000, 1_000)
            await engine.cancel(handles[left[0]].id)
        assert (len(held), len(left), SEEN, len(loops)) == (0, 5_000, [], 0)
    finally:
        gc.enable()
    gc.collect()
    assert [str(each.message) for each in recwarn] == []
    assert [each.message for each in caplog.records if "destroyed" in each.message] == []


async def test_closing_the_engine_leaves_all(engines: Engines, caplog: pytest.LogCaptureFixture) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            SEEN.append("generator left")
            await reserve(9)

    @workflow
    async def waits() -> None:
        try:
            async for _ in numbers():
                await wait_for_signal("go")
        finally:
            SEEN.append("left")
            await reserve(8)

    engine = await engines.open()
    await engine.start(waits.new())
    await eventually_async(lambda: staying(engine) == 1)
    crew = engine._running()
    await engine.close()
    gc.collect()

    assert len(crew.residents) == 0
    assert sorted(SEEN) == ["generator left", "left"]
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


# Unruly code.


async def test_code_that_catches_everything_is_left_all_the_same(hands: Hands) -> None:
    hand = await hands(residents_max=1)

    @workflow
    async def stubborn() -> list[Any]:
        got: list[Any] = []
        while len(got) < 2:
            try:
                got.append(await wait_for_signal("go"))
            except BaseException:
                await reserve(1)
        return got

    handles = [await hand.start(stubborn.new()) for _ in range(2)]
    await drain(hand)
    for handle in handles:
        await hand.signal(handle, "go", 1)
        await drain(hand)
        await hand.signal(handle, "go", 2)
    await drain(hand)

    assert [await assert_done(hand, handle) for handle in handles] == [[1, 2], [1, 2]]
    assert SEEN == []


async def test_a_thread_that_ends_late_gives_nothing_to_code_that_stays(worker: Engine) -> None:
    gate, over = threading.Event(), threading.Event()

    @step(timeout=0.05)
    def stuck() -> str:
        gate.wait(SOON_S)
        over.set()
        return "too late"

    @workflow
    async def waits() -> Any:
        got: list[Any] = []
        try:
            got.append(await stuck())  # type: ignore[misc]
        except TimeoutError:
            got.append("timed out")
        return [*got, await wait_for_signal("go"), await ship(1)]  # type: ignore[misc]

    handle = await worker.start(waits.new())
    await eventually_async(lambda: staying(worker) == 1)
    gate.set()
    await asyncio.to_thread(over.wait, SOON_S)
    await worker.signal(handle, "go", 1)

    assert await handle.result(SOON_S) == ["timed out", 1, 1]
    assert [(note.key, note.status) for note in await worker.steps(handle)] == [
        ("stuck#1", "failed"),
        ("signal:go#1", "done"),
        ("ship#1", "done"),
    ]


async def test_context_is_kept_and_that_of_the_activation_is_the_new_one(hand: Engine) -> None:
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nothing")
    epochs: list[Any] = []

    async def look() -> None:
        run = CURRENT.get()
        assert run is not None
        assert run is hand._crew.executor.running[run.claim.id]  # type: ignore[union-attr]
        epochs.append((run.claim.epoch, mine.get(), current_step()))

    async def branch() -> None:
        mine.set("of the branch")
        await wait_for_signal("a")
        await look()

    @workflow
    async def waits() -> None:
        mine.set("of the body")
        await parallel(branch(), wait_for_signal("b"))
        await look()

    handle = await hand.start(waits.new())
    await drain(hand)
    await hand.signal(handle, "a")
    await drain(hand)
    await hand.signal(handle, "b")
    await drain(hand)

    await assert_done(hand, handle)
    assert epochs == [(2, "of the branch", None), (3, "of the body", None)]


# Both ways are one.


async def test_by_hand_code_runs_anew_unless_you_ask(store_url: str) -> None:
    async with by_hand(url=store_url) as hand:
        handle = await hand.start(two_waits.new())
        await drain(hand)
        await hand.signal(handle, "go", 1)
        await drain(hand)
        assert (staying(hand), SEEN.count("code")) == (0, 2)


@step(max_attempts=3, backoff=backoff.constant(55))
async def unsteady(number: int, good_at: int) -> int:
    SEEN.append(f"unsteady {number}")
    if SEEN.count(f"unsteady {number}") < good_at:
        raise ValueError(f"not yet: {number}")
    return number


@workflow(name="residents.mixed")
async def mixed(seed: int) -> Any:
    """Waits of all kinds, in branches, as its dice fall: the same ones each time.

    The clock is at tens of seconds whenever this runs, and what it waits for is due at fives.
    """
    dice = random.Random(seed)

    async def one(depth: int) -> Any:
        kind = dice.randrange(8)
        if depth < 2 and kind < 2:
            return list(await parallel(one(depth + 1), one(depth + 1), on_error="complete_all"))
        if kind == 2:
            return await unsteady(dice.randrange(1_000), 1 + dice.randrange(3))
        if kind == 3:
            return await wait_for_any("a", "b", timeout=45, default="late")
        if kind == 4:
            return await wait_for_all("a", "b", timeout=75, default="late")
        if kind == 5:
            await sleep(5 + 10 * dice.randrange(9))
            return await reserve(depth)
        return await wait_for_signal(dice.choice("abc"), timeout=35, default="late")

    order: list[Any] = []

    async def noted(number: int) -> None:
        order.append([number, await one(0)])

    await each(range(4), noted, concurrency=3)
    return order


async def trace(hand: Engine, seed: int) -> Any:
    """All that a run of `mixed` leaves, ids and times apart."""
    SEEN.clear()
    dice = random.Random(-seed)
    handle = await hand.start(mixed.new(seed))
    for number in range(60):
        await drain(hand, with_scheduled=False)
        for _ in range(dice.randrange(3)):
            await hand.signal(handle, dice.choice("abc"), number)
        clock_of(hand).jump(dice.choice([0, 10, 20, 50]))
    await drain(hand)
    journal = [(note.key, note.kind, note.status, note.attempt, note.value) for note in await hand.steps(handle)]
    used = [(signal.name, signal.payload, signal.consumed_at is not None) for signal in await hand.signals(handle)]
    found = await hand.get(handle.id)
    return found.status, found.result, journal, used, sorted(SEEN)


@pytest.mark.parametrize("seed", range(20))
async def test_a_run_is_the_same_however_its_code_goes_on(sqlite_url: str, seed: int) -> None:
    traces = []
    for residents_max in (1_000, 0):
        async with by_hand(url=sqlite_url, residents_max=residents_max) as hand:
            traces.append(await trace(hand, seed))

    assert traces[0] == traces[1]
    assert traces[0][0] == "done"


async def test_side_by_side_both_ways_at_once(hands: Hands) -> None:
    # One engine keeps its code, the other one nothing; who goes on with an instance changes with each wait.
    stays, anew = await hands(), await hands(residents_max=0)
    handle = await stays.start(side_by_side.new(3))
    for engine in (stays, anew, stays, anew):
        await drain(engine)
        for clocked in (stays, anew):
            clock_of(clocked).jump(4)

    assert await assert_done(stays, handle) == ["stock 3", 100, 1, 2, "stock 7", "stock 8"]
    assert sorted(SEEN) == ["charge 3", "reserve 3", "reserve 7", "reserve 8", "ship 1", "ship 2"]


def test_code_that_is_thrown_away_after_the_end_of_its_loop_leaves_no_loop_running() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def begin() -> FlowLoop:
        loop = FlowLoop(None)  # type: ignore[abstract]
        loop.begin(wait())
        loop.turn()
        return loop

    loop = asyncio.run(begin())
    loop.close_tasks()

    assert events._get_running_loop() is None
