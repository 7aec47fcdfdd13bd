"""Steps that run elsewhere: on another queue, or under limits of their own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import (
    Engine,
    RateLimit,
    backoff,
    call_child,
    current_step,
    each,
    errors,
    hours,
    parallel,
    sleep,
    step,
    wait_for_signal,
    workflow,
)
from outlast.errors import ConfigError, DefinitionError, IllegalMove, StepFailed
from outlast.testing import (
    assert_done,
    assert_failed,
    assert_status,
    by_hand,
    clock_of,
    crash_after_commit,
    crash_before_commit,
    drain,
    prune,
    run_step_twice,
)
from outlast.testing.faults import Fault
from outlast.testing.hand import hand_of
from tests.engine.given import SOON_S, Engines, Table
from tests.workflows.programs import SEEN, Declined, Receipt, charge, reserve, ship


async def scrap(order: int, result: Receipt) -> None:
    SEEN.append(f"scrap {order} {result.cents}")


@step(on="gpu", compensate=scrap)
async def render(order: int, cents: int = 100) -> Receipt:
    """A step with a type of its own."""
    SEEN.append(f"render {order}")
    if cents < 0:
        raise Declined(f"order {order}")
    return Receipt(order, cents)


@step(on="gpu")
def count(number: int) -> int:
    SEEN.append(f"count {number}")
    return number


@step(on="gpu", max_attempts=3, backoff=backoff.constant(60))
async def shaky(good_at: int) -> int:
    SEEN.append("shaky")
    if SEEN.count("shaky") < good_at:
        raise ValueError(f"not yet: {SEEN.count('shaky')}")
    return SEEN.count("shaky")


@workflow(name="errands.order")
async def order(number: int, cents: int = 100) -> Any:
    stock = await reserve(number)
    receipt = await render(number, cents)
    await sleep(hours(1))
    return [stock, receipt.cents, await ship(number)]  # type: ignore[misc]


@workflow(name="errands.patient")
async def patient() -> Any:
    await render(1)
    return await wait_for_signal("never")


async def _errands(engine: Engine, target: Any) -> list[Any]:
    return [child async for child in engine.all_children(target) if child.program.startswith("step:")]


async def test_it_runs_in_its_queue_and_is_recorded_like_any_other(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")

    waiting = await assert_status(hand, handle, "waiting")
    assert SEEN == ["reserve 7"]
    (errand,) = await _errands(hand, handle)
    assert (errand.queue, errand.status, errand.program) == ("gpu", "ready", "step:render")
    assert errand.parent == handle.id
    assert waiting.awaits == (f"~child:{errand.id}",)
    shown = {it.key: it for it in await hand.steps(handle)}["render#1"]
    assert (shown.status, shown.errand) == ("waiting", errand.id)
    assert shown.value == {"id": errand.id, "program": "step:render", "queue": "gpu"}

    await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    assert await assert_done(hand, handle) == ["stock 7", 100, 7]
    assert SEEN == ["reserve 7", "render 7", "ship 7"]
    done = {it.key: it for it in await hand.steps(handle)}["render#1"]
    assert (done.kind, done.status, done.attempt, done.value) == ("step", "done", 0, {"order": 7, "cents": 100})
    assert done.errand == errand.id
    assert done.duration_s is not None


async def test_its_result_is_typed_now_and_when_it_is_recalled(hand: Engine, runs: int) -> None:
    seen: list[Any] = []

    @workflow
    async def shop() -> None:
        seen.append(await render(1, cents=5))
        await sleep(60)

    await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert seen == [Receipt(1, 5)] * runs
    assert SEEN == ["render 1"]


async def test_attempts_wait_without_a_worker_and_the_error_is_raised_after_the_last(hand: Engine) -> None:
    @workflow
    async def shop(good_at: int) -> int:
        return await shaky(good_at)

    good, bad = await hand.start(shop.new(3)), None
    for _ in range(3):
        await drain(hand, with_scheduled=False)
        clock_of(hand).jump(61)
    assert await assert_done(hand, good) == 3
    (recorded,) = await hand.steps(good)
    assert (recorded.status, recorded.attempt) == ("done", 2)

    SEEN.clear()
    bad = await hand.start(shop.new(9))
    await drain(hand)
    error = await assert_failed(hand, bad, "step 'shaky' failed: ValueError: not yet: 3")
    assert error["type"] == "ValueError"
    (recorded,) = await hand.steps(bad)
    assert (recorded.status, recorded.attempt) == ("failed", 3)


async def test_its_error_is_of_the_class_that_was_raised(hand: Engine, runs: int) -> None:
    caught: list[Any] = []

    @workflow
    async def shop() -> str:
        try:
            await render(1, -5)
        except Declined as error:
            caught.append((isinstance(error, StepFailed), type(error).__name__, str(error), error.step))
            await sleep(60)
            return "declined"
        return "paid"

    handle = await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == "declined"
    what = "step 'render' failed: tests.workflows.programs.Declined: order 1"
    assert caught == [(True, "Declined", what, "render")] * runs
    assert SEEN == ["render 1"]


async def test_what_was_done_elsewhere_is_undone_and_may_be_undone_elsewhere(hand: Engine) -> None:
    @step(on="cleaners", max_attempts=2, backoff=backoff.constant(60))
    async def sweep(number: int, result: int) -> None:
        SEEN.append(f"sweep {number} {result}")
        if SEEN.count(f"sweep {number} {result}") == 1:
            raise ConnectionError

    @step(compensate=sweep)
    async def litter(number: int) -> int:
        return number * 10

    @workflow
    async def shop() -> None:
        await render(1)
        await litter(2)
        raise RuntimeError("and then")

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["render 1", "sweep 2 20", "sweep 2 20", "scrap 1 100"]
    assert {child.queue: child.status for child in await _errands(hand, handle)} == {"gpu": "done", "cleaners": "done"}


async def test_it_knows_whose_step_it_is(hand: Engine) -> None:
    told: list[Any] = []

    @step(on="gpu", max_attempts=2, backoff=backoff.constant(0))
    def who() -> str:
        info = current_step()
        assert info is not None
        told.append((info.id, info.program, info.key, info.attempt, info.idempotency_key))
        if len(told) == 1:
            raise ConnectionError
        return info.key

    @workflow(name="errands.who")
    async def shop() -> str:
        return await who()  # type: ignore[misc, no-any-return]

    handle = await hand.start(shop.new())
    await drain(hand)

    assert await assert_done(hand, handle) == "who#1"
    assert told == [(handle.id, "errands.who", "who#1", n, f"{handle.id}:who#1") for n in (0, 1)]


async def test_what_it_says_is_kept_with_its_errand(hand: Engine) -> None:
    log = logging.getLogger("tests.errands")

    @step(on="gpu", max_attempts=2, backoff=backoff.constant(0))
    async def talk() -> None:
        log.warning("hello")
        if len(lines) == 0:
            lines.append(1)
            raise ConnectionError

    @workflow
    async def shop() -> None:
        await talk()

    lines: list[int] = []
    handle = await hand.start(shop.new())
    await drain(hand)

    (recorded,) = await hand.steps(handle)
    assert recorded.errand is not None
    said = [(line.step, line.attempt, line.message) for line in await hand.logs(recorded.errand)]
    assert said == [("talk#1", 0, "hello"), ("talk#1", 1, "hello")]


async def test_branches_loops_and_many(hand: Engine) -> None:
    async def twice(number: int) -> int:
        return await count(number) + await count(number + 1)  # type: ignore[misc, no-any-return]

    @workflow
    async def shop() -> Any:
        one, two = await parallel(count(1), reserve(2))  # type: ignore[call-overload]
        gathered = await asyncio.gather(twice(10), twice(20), charge(3, 300))
        total = 0
        for number in range(3):
            total += await count(number)  # type: ignore[misc]
        many = await each(range(25), count, concurrency=4)  # type: ignore[arg-type]
        return [one, two, gathered[0], gathered[1], gathered[2].cents, total, sum(many)]

    handle = await hand.start(shop.new())
    await drain(hand)

    assert await assert_done(hand, handle) == [1, "stock 2", 21, 41, 300, 3, 300]
    counted = [seen for seen in SEEN if seen.startswith("count")]
    assert len(counted) == 1 + 4 + 3 + 25


@pytest.mark.parametrize("crash", [crash_before_commit, run_step_twice])
async def test_a_crash_while_it_runs_runs_it_again(hand: Engine, crash: Any) -> None:
    handle = await hand.start(order.new(7))
    with crash(hand, order, render):
        await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "render 7", "render 7", "ship 7"]


async def test_a_crash_after_it_is_committed_runs_nothing_again(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    with crash_after_commit(hand, order, render, times=2):  # the errand's own commit, and the workflow's record of it.
        await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "render 7", "ship 7"]
    assert len(await _errands(hand, handle)) == 1


@workflow(name="errands.saga")
async def saga() -> None:
    await render(1)
    with contextlib.suppress(Declined):
        await parallel(count(5), charge(9, -1))  # type: ignore[call-overload]
    await each([2, 3], render)
    raise RuntimeError("and then")


@dataclass
class Nth(Fault):
    """Strikes once, at the n-th step that could be struck."""

    left: int = 0

    def strikes(self, program: str, step: str) -> bool:
        self.left -= 1
        self.hits += self.left == 0
        return self.left == 0


@pytest.mark.parametrize("kind", ["crash_before_commit", "crash_after_commit", "run_step_twice"])
@pytest.mark.parametrize("nth", range(1, 11))
async def test_a_crash_at_any_step_loses_nothing_and_undoes_all(hand: Engine, kind: Any, nth: int) -> None:
    handle = await hand.start(saga.new())
    hand_of(hand).faults.append(fault := Nth(kind, None, None, 1, left=nth))
    await drain(hand)

    assert fault.hits == 1
    await assert_status(hand, handle, "compensated")
    assert {child.status for child in await _errands(hand, handle)} <= {"done", "cancelled"}
    again = 0 if kind == "crash_after_commit" else 1
    effects = [seen for seen in SEEN if not seen.startswith("count")]
    assert set(effects) == {"charge 9", *(text for n in (1, 2, 3) for text in (f"render {n}", f"scrap {n} 100"))}
    assert 7 <= len(effects) <= 7 + again
    first = {seen: effects.index(seen) for seen in effects}
    assert max(first[f"scrap {n} 100"] for n in (2, 3)) < first["scrap 1 100"], "the newest first"
    assert all(step.status != "waiting" for step in await hand.steps(handle))


@pytest.mark.parametrize("tree", [False, True])
async def test_cancelling_the_workflow_cancels_it(hand: Engine, tree: bool) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")

    await hand.cancel(handle.id, tree=tree)
    await drain(hand)

    (errand,) = await _errands(hand, handle)
    assert errand.status == "cancelled"
    assert SEEN == ["reserve 7"]


async def test_a_workflow_that_is_cancelled_and_tried_again_sends_another(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    await hand.cancel(handle.id)

    await hand.retry(handle.id)
    await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "render 7", "ship 7"]
    assert [child.status for child in await _errands(hand, handle)] == ["cancelled", "done"]


async def test_a_workflow_that_failed_with_it_is_tried_again(hand: Engine) -> None:
    @workflow
    async def shop() -> int:
        return await shaky(5)

    handle = await hand.start(shop.new())
    await drain(hand)
    await assert_status(hand, handle, "failed")
    await hand.retry(handle.id)
    await drain(hand)

    assert await assert_done(hand, handle) == 5
    assert [child.status for child in await _errands(hand, handle)] == ["failed", "done"]


async def test_a_workflow_that_is_quarantined_waits_for_the_same_one(hand: Engine, table: Table) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    (errand,) = await _errands(hand, handle)
    table.poke(handle.id, status="quarantined")

    with pytest.raises(IllegalMove, match="has not ended"):
        await hand.retry(handle.id, from_step="render#1")
    with pytest.raises(IllegalMove, match="has not ended"):
        await hand.retry(handle.id, result_of={"render#1": {"order": 7, "cents": 1}})
    await hand.retry(handle.id)
    await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "render 7", "ship 7"]
    assert [child.id for child in await _errands(hand, handle)] == [errand.id]


async def test_a_retry_from_a_step_sends_another_for_what_was_out_and_for_what_was_done(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    await hand.cancel(handle.id)
    await hand.retry(handle.id, from_step="reserve#1")
    await drain(hand)
    await hand.cancel(handle.id)
    await hand.retry(handle.id, from_step="render#1")
    await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "reserve 7", "render 7", "render 7", "ship 7"]
    assert [child.status for child in await _errands(hand, handle)] == ["cancelled", "done", "done"]


async def test_what_a_workflow_has_sent_and_what_it_calls_after_a_retry_have_places_of_their_own(hand: Engine) -> None:
    """A child that is called in a later round is not taken for an errand of an earlier claim."""

    @workflow(name="errands.child")
    async def child() -> str:
        return "child"

    @workflow(name="errands.turned")
    async def turned(way: str) -> Any:
        if way == "errand":
            await render(1)
        await call_child(child.new())
        if way == "errand":
            raise ValueError(way)
        return await call_child(child.new())

    handle = await hand.start(turned.new(way="errand"))
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    await hand.retry(handle.id, input={"way": "child"})
    await drain(hand)

    assert await assert_done(hand, handle) == "child"
    assert {found.key: found.errand for found in await hand.steps(handle) if found.errand} == {}


async def test_a_paused_workflow_s_errand_waits_and_is_sent_once(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    await hand.pause(handle.id, "not now")
    await drain(hand)
    assert SEEN == ["reserve 7"]
    (errand,) = await _errands(hand, handle)
    assert (errand.status, errand.pause_reason) == ("blocked", "not now")

    await hand.resume(handle.id)
    await drain(hand)
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_done(hand, handle)
    assert SEEN == ["reserve 7", "render 7", "ship 7"]


async def test_a_workflow_that_is_paused_while_it_runs_sends_none(engines: Engines) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @step
    async def gated() -> None:
        begun.set()
        await goes_on.wait()

    @workflow(name="errands.gated")
    async def shop() -> Any:
        await gated()
        return await count(1)  # type: ignore[misc]

    worker = await engines.open(programs=[shop], queues={"default": 2, "gpu": 2})
    handle = await worker.start(shop.new())
    await asyncio.wait_for(begun.wait(), SOON_S)
    await worker.pause(handle.id)
    goes_on.set()

    async def held() -> bool:
        return (await worker.get(handle.id)).status == "blocked"

    await eventually_async(held, what="a held workflow")
    assert [(found.key, found.status) for found in await worker.steps(handle)] == [("gated#1", "done")]
    assert await _errands(worker, handle) == []
    await worker.resume(handle.id)
    assert await handle.result(SOON_S) == 1


async def test_the_workflow_s_own_time_reaches_it(hand: Engine) -> None:
    @workflow(timeout=hours(1))
    async def shop() -> Any:
        await charge(1, 500)
        return await count(1)  # type: ignore[misc]

    handle = await hand.start(shop.new())
    await drain(hand, queue="default")
    clock_of(hand).jump(3601)
    await drain(hand, queue="default")

    found = await assert_status(hand, handle, "compensated")
    assert found.error is not None
    assert "longer than its timeout" in found.error["message"]
    (errand,) = await _errands(hand, handle)
    assert errand.status == "cancelled"
    assert SEEN == ["charge 1", "refund 1 500"]


async def test_what_it_had_done_when_the_time_was_up_is_undone(hand: Engine) -> None:
    @workflow(timeout=hours(1))
    async def shop() -> Any:
        return await render(1)

    handle = await hand.start(shop.new())
    await drain(hand, queue="default")
    await drain(hand, queue="gpu")
    clock_of(hand).jump(3601)
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["render 1", "scrap 1 100"]


async def test_a_branch_that_is_given_up_gives_it_up(hand: Engine) -> None:
    @step
    async def bad() -> None:
        raise Declined

    @workflow
    async def shop() -> str:
        try:
            await parallel(count(1), bad())  # type: ignore[call-overload]
        except Declined:
            await sleep(60)
        return "went on"

    handle = await hand.start(shop.new())
    await drain(hand)
    clock_of(hand).jump(61)
    await drain(hand)

    assert await assert_done(hand, handle) == "went on"
    assert SEEN == []
    assert {child.status for child in await _errands(hand, handle)} <= {"cancelled"}
    assert all(step.status != "waiting" for step in await hand.steps(handle) if step.kind == "step")


async def test_an_errand_that_nobody_waits_for_ends_with_its_workflow(hand: Engine) -> None:
    @workflow
    async def shop() -> str:
        stray = asyncio.ensure_future(render(1))
        await sleep(60)
        return f"over {stray.done()}"

    handle = await hand.start(shop.new())
    await drain(hand, queue="default")
    clock_of(hand).jump(61)
    await drain(hand, queue="default")

    assert await assert_done(hand, handle) == "over False"
    assert [child.status for child in await _errands(hand, handle)] == ["cancelled"]


async def test_an_errand_that_is_cancelled_by_hand_fails_the_step(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    (errand,) = await _errands(hand, handle)
    await hand.cancel(errand.id, "the machine burns")
    await drain(hand)

    await assert_failed(hand, handle, "step 'render' failed: Cancel: the machine burns")


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_it_goes_with_its_workflow_and_not_before(hand: Engine, how: str) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand)
    (errand,) = await _errands(hand, handle)
    clock_of(hand).jump(3 * 86_400)
    assert await prune(hand) == 0, "its workflow lives"
    await drain(hand)
    assert await prune(hand) == 0, "its workflow is kept"

    if how == "delete":
        await hand.delete(handle.id)
    else:
        clock_of(hand).jump(2 * 86_400)
        assert await prune(hand) == 2

    with pytest.raises(errors.NotFound):
        await hand.get(errand.id)


async def test_a_waiting_workflow_is_deleted_with_the_errand_that_is_out(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand, queue="default")
    (errand,) = await _errands(hand, handle)

    await hand.delete(handle.id)

    with pytest.raises(errors.NotFound):
        await hand.get(errand.id)
    await drain(hand)
    assert SEEN == ["reserve 7"]


async def test_a_step_that_moves_elsewhere_and_back_is_not_run_twice(store_url: str) -> None:
    """What is out stays out, whatever the code says when the workflow runs again."""

    @step(name="errands.moves", on="gpu")
    async def there() -> str:
        SEEN.append("there")
        return "there"

    @step(name="errands.moves")
    async def here() -> str:
        SEEN.append("here")
        return "here"

    def release(moves: Any) -> Any:
        @workflow(name="errands.moving")
        async def moving() -> Any:
            return await parallel(moves(), wait_for_signal("go"))

        return moving

    before, after = release(there), release(here)
    async with by_hand(url=store_url, programs=[before, there]) as engine:
        handle = await engine.start(before.new())
        await drain(engine, queue="default")
    async with by_hand(url=store_url, programs=[after, there]) as engine:
        await engine.signal(handle.id, "go", 1)
        await drain(engine)
        assert await assert_done(engine, handle.id) == ["there", 1]
    assert SEEN == ["there"]


# Who runs it.


@asynccontextmanager
async def _node(url: str, queues: dict[str, int], programs: list[Any], **options: Any) -> AsyncIterator[Engine]:
    async with Engine(url, queues=queues, programs=programs, poll_interval=0.05, **options) as engine:
        yield engine


async def test_one_node_has_the_workflow_and_another_the_step(store_url: str) -> None:
    where: list[str] = []

    @step(on="gpu")
    async def work(number: int) -> int:
        where.append("gpu")
        return number * 2

    @workflow(name="errands.two_nodes")
    async def shop() -> int:
        return sum(await each(range(20), work))

    async with by_hand(url=store_url):
        pass  # makes the tables.
    async with (
        _node(store_url, {"default": 2}, [shop]) as one,
        _node(store_url, {"gpu": 3}, [work]) as other,
    ):
        handle = await one.start(shop.new())
        assert await handle.result(SOON_S) == 380
        assert [program.name for program in other.programs] == ["step:work"]
    assert where == ["gpu"] * 20


async def test_what_no_node_knows_waits_and_is_seen(hand: Engine, store_url: str) -> None:
    @step(on="gpu")
    async def unknown() -> str:
        return "known by now"

    @workflow(name="errands.unknown")
    async def shop() -> str:
        return await unknown()

    async with by_hand(url=store_url, programs=[shop]) as engine:
        handle = await engine.start(shop.new())
        await drain(engine, queue="default")
    async with by_hand(url=store_url, programs=[shop]) as engine:  # knows the workflow, and not the step.
        assert (await drain(engine)).steps == 0
        ready = [(row.program, row.queue, row.instances) for row in (await engine.standing()).ready]
        assert ready == [("step:unknown", "gpu", 1)]
    async with by_hand(url=store_url, programs=[shop, unknown]) as engine:
        await drain(engine)
        assert await assert_done(engine, handle.id) == "known by now"


async def test_one_whose_arguments_do_not_fit_waits_for_an_operator(store_url: str) -> None:
    def release(kind: Any) -> tuple[Any, Any]:
        async def fits(value: Any) -> str:
            return f"{type(value).__name__} {value}"

        fits.__annotations__["value"] = kind
        made = step(name="fits", on="gpu")(fits)

        @workflow(name="errands.fits")
        async def shop() -> str:
            return await made("a text")

        return shop, made

    (shop, right), (_, wrong) = release(str), release(int)
    async with by_hand(url=store_url, programs=[shop, right]) as engine:
        handles = [await engine.start(shop.new()) for _ in range(2)]
        await drain(engine, queue="default")
    async with by_hand(url=store_url, programs=[wrong]) as engine:
        await drain(engine)
        errands = [(await _errands(engine, handle.id))[0] for handle in handles]
        assert [errand.status for errand in errands] == ["quarantined"] * 2
        assert (await engine.standing()).quarantined == 2
    async with by_hand(url=store_url, programs=[shop, right]) as engine:
        await engine.retry(errands[0].id)
        await engine.cancel(errands[1].id, "no use")
        await drain(engine)
        assert await assert_done(engine, handles[0].id) == "str a text"
        await assert_failed(engine, handles[1].id, "step 'fits' failed: Cancel: no use")


async def test_its_time_holds_where_it_runs(store_url: str) -> None:
    @step(on="gpu", timeout=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    @workflow(name="errands.endless")
    async def shop() -> str:
        try:
            await endless()
        except TimeoutError as error:
            return str(error)
        return "?"

    async with by_hand(url=store_url):
        pass
    async with _node(store_url, {"default": 2, "gpu": 1}, [shop, endless]) as engine:
        answer = await (await engine.start(shop.new())).result(SOON_S)
    assert "step 'endless' failed: outlast.errors.StepTimeout: the step ran longer than its timeout" in answer


# Limits.


@dataclass
class Together:
    """How many run at the same time."""

    now: int = 0
    most: int = 0


async def test_a_key_lets_as_many_steps_run_as_it_has_slots(store_url: str) -> None:
    seen: dict[str, Together] = {"a": Together(), "b": Together()}

    @step(concurrency_key=lambda customer, number: ("errands.customer", customer))
    async def pay(customer: str, number: int) -> int:
        mine = seen[customer]
        mine.now += 1
        mine.most = max(mine.most, mine.now)
        for _ in range(20):
            await asyncio.sleep(0)
        mine.now -= 1
        return number

    @workflow(name="errands.payments")
    async def shop(customer: str) -> int:
        return sum(await asyncio.gather(*(pay(customer, number) for number in range(8))))

    async with by_hand(url=store_url):
        pass
    async with _node(store_url, {"default": 20}, [shop, pay], concurrency_limits={"errands.customer": 2}) as engine:
        handles = [await engine.start(shop.new(customer)) for customer in ("a", "b")]
        assert [await handle.result(SOON_S) for handle in handles] == [28, 28]
        (first, *_) = await _errands(engine, handles[0])
    assert (first.queue, first.concurrency_key) == ("default", "errands.customer[a]")
    assert [together.most for together in seen.values()] == [2, 2]


async def test_a_rate_limit_admits_a_step_by_its_weight(store_url: str) -> None:
    @step(on="calls", rate_limit="errands.api", weight=2)
    async def ask(number: int) -> int:
        SEEN.append(f"ask {number}")
        return number

    @workflow(name="errands.asks")
    async def shop() -> int:
        return sum(await each(range(4), ask))

    rates = {"errands.api": RateLimit(4, period=hours(1))}
    async with by_hand(url=store_url, programs=[shop, ask], rate_limits=rates) as engine:
        handle = await engine.start(shop.new())
        await drain(engine, with_scheduled=False)
        assert len(SEEN) == 2, "four tokens are two calls"
        clock_of(engine).jump(hours(1))
        await drain(engine)
        assert await assert_done(engine, handle) == 6
    assert sorted(SEEN) == [f"ask {number}" for number in range(4)]


async def test_a_rate_limit_that_only_the_other_node_declares_is_no_error(store_url: str) -> None:
    @step(on="calls", rate_limit="errands.theirs")
    async def ask() -> str:
        return "answer"

    @workflow(name="errands.theirs")
    async def shop() -> str:
        return await ask()

    async with by_hand(url=store_url, programs=[shop, ask]) as one:
        handle = await one.start(shop.new())
        await drain(one)
        await assert_status(one, handle, "waiting")
        assert ("problem", "rate limit") in [found[:2] for found in await one.findings()]
    rates = {"errands.theirs": RateLimit(10, period=1)}
    async with by_hand(url=store_url, programs=[shop, ask], rate_limits=rates) as other:
        await drain(other)
        assert await assert_done(other, handle.id) == "answer"


# What is wrong.


async def test_arguments_that_cannot_be_stored_fail_the_step(hand: Engine) -> None:
    @workflow
    async def shop() -> list[str]:
        told = []
        for wrong in (lambda: count(object()), lambda: count("many"), lambda: count(1, 2)):  # type: ignore[arg-type, call-arg]
            try:
                await wrong()  # type: ignore[no-untyped-call]
            except StepFailed as error:
                told.append(str(error))
        return told

    handle = await hand.start(shop.new())
    await drain(hand)

    told = await assert_done(hand, handle)
    assert [len(told), "step 'count' failed" in told[0], "step 'count'" in told[1]] == [3, True, True]
    assert SEEN == []


async def test_a_limit_s_own_function_that_fails_fails_the_step(hand: Engine) -> None:
    @step(concurrency_key=lambda number: 1 / number)  # type: ignore[arg-type, return-value]
    async def odd(number: int) -> int:
        return number

    @workflow
    async def shop() -> int:
        return await odd(0)

    handle = await hand.start(shop.new())
    await drain(hand)

    await assert_failed(hand, handle, "step 'odd' failed: ZeroDivisionError")


def test_wrong_definitions_are_refused() -> None:
    with pytest.raises(ConfigError, match="on, a step's queue, must be 1 to 200 printable"):
        step(on=" gpu")
    with pytest.raises(ConfigError, match="on, a step's queue, must be text, not 5"):
        step(on=5)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="a step's rate_limit must be"):
        step(rate_limit=("a", "b", "c"))  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="a step's weight must be a number above 0"):
        step(rate_limit="api", weight=0)
    with pytest.raises(ConfigError, match="give rate_limit, too"):
        step(weight=2)
    with pytest.raises(DefinitionError, match="Next"):

        @step(on="gpu")
        async def machines(self: Any, ctx: Any) -> None: ...

    with pytest.raises(ConfigError, match="steps with on= or a limit"):
        Engine("sqlite://", programs=[reserve])


def test_two_of_one_name_are_refused() -> None:
    def other() -> Any:
        @step(name="errands.same", on="gpu")
        async def one() -> None: ...

        @step(name="errands.same", on="gpu")
        async def two() -> None: ...

        return one, two

    with pytest.raises(DefinitionError, match=r"'step:errands.same' .* is defined twice .*@step\(name=...\)"):
        Engine("sqlite://", programs=other())


async def test_outside_of_workflows_it_is_the_plain_function() -> None:
    assert await render(1) == Receipt(1, 100)
    assert count(2) == 2
