"""What a step knows of itself, and what it shows others."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Context, Engine, InstanceFailed, Progress, backoff, job
from tests.engine.given import SOON_S, Engines, Tally

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


async def test_the_context_names_the_instance(engine: Engine) -> None:
    seen: list[Context] = []

    @job(backoff=backoff.constant(0))
    async def look(ctx: Context, fail: bool) -> None:
        seen.append(ctx)
        if fail and ctx.attempt < 1:
            raise ValueError

    handle = await engine.start(look.new(fail=True), correlation_key="order:7")
    await handle.result(SOON_S)

    first, second = seen
    assert (first.id, first.program, first.queue, first.key) == (handle.id, "look", "default", "order:7")
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.deadline is None


async def test_the_context_names_the_queue_it_was_sent_to(engines: Engines) -> None:
    engine = await engines.open(queues={"side": 1})

    @job
    def look(ctx: Context) -> list[str | None]:
        return [ctx.queue, ctx.key]

    handle = await engine.start(look.new(), queue="side")

    assert await handle.result(SOON_S) == ["side", None]


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_progress_is_seen_by_others_while_the_step_runs(engines: Engines, kind: str) -> None:
    worker = await engines.open()
    other = await engines.open(queues={})
    seen, seen_in_thread = asyncio.Event(), threading.Event()

    @job
    async def load(ctx: Context) -> None:
        ctx.progress(0.1, "begun")
        ctx.progress(0.5, "half\x00way")
        await seen.wait()

    @job
    def load_in_thread(ctx: Context) -> None:
        ctx.progress(0.1, "begun")
        ctx.progress(0.5, "half\x00way")
        seen_in_thread.wait(SOON_S)

    handle = await worker.start(load.new() if kind == "async def" else load_in_thread.new())

    async def half_way() -> bool:
        return (await other.get(handle.id)).progress == Progress(0.5, "half\\0way")

    await eventually_async(half_way)
    seen.set()
    seen_in_thread.set()
    await handle.result(SOON_S)
    assert (await other.get(handle.id)).progress == Progress(0.5, "half\\0way")


@pytest.mark.parametrize("fraction", [-0.1, 1.1, "half", None, float("nan")])
async def test_progress_out_of_range_is_refused(engine: Engine, fraction: Any) -> None:
    @job(max_attempts=1)
    async def load(ctx: Context) -> None:
        ctx.progress(fraction)

    handle = await engine.start(load.new())

    with pytest.raises(InstanceFailed, match="progress must be a fraction"):
        await handle.result(SOON_S)


async def test_many_reports_become_few_writes(engine: Engine) -> None:
    calls = 0
    real = engine._store.claims.report

    async def counted(reports: Any) -> None:
        nonlocal calls
        calls += 1
        await real(reports)

    engine._store.claims.report = counted  # type: ignore[method-assign]

    @job
    def load(ctx: Context) -> None:
        for step in range(10_000):
            ctx.progress(step / 10_000)

    await (await engine.start(load.new())).result(SOON_S)

    assert calls <= 3


async def test_context_variables_of_the_opener_are_seen_by_every_step(engines: Engines) -> None:
    token = tenant.set("ann")
    engine = await engines.open()
    tenant.reset(token)

    @job
    async def look() -> str:
        return tenant.get()

    @job
    def look_in_thread() -> str:
        return tenant.get()

    for work in (look, look_in_thread, look):
        assert await (await engine.start(work.new())).result(SOON_S) == "ann"


async def test_context_variables_do_not_leak_from_step_to_step(engines: Engines) -> None:
    engine = await engines.open(queues={"default": 1})  # each step is started by the end of the one before.
    runs = Tally()

    @job
    async def leak() -> str:
        found = tenant.get()
        tenant.set(f"run {runs.add()}")
        return found

    @job
    def leak_in_thread() -> str:
        found = tenant.get()
        tenant.set("thread")
        return found

    handles = await engine.start_many(leak.new() if turn % 2 else leak_in_thread.new() for turn in range(10))

    assert {await handle.result(SOON_S) for handle in handles} == {"nobody"}
