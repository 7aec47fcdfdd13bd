"""Failures, and the attempts that follow."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from outlast import Context, Engine, InstanceFailed, Retry, backoff, job
from tests.engine.given import SOON_S, Ear, Table, Tally

AT_ONCE = backoff.constant(0)


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I do not show myself")


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_job_runs_exactly_max_attempts_times(engine: Engine, attempts: int) -> None:
    runs = Tally()

    @job(max_attempts=attempts, backoff=AT_ONCE)
    async def fail() -> None:
        runs.add()
        raise ValueError(f"run {runs.count}")

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed, match=f"ValueError: run {attempts}"):
        await handle.result(SOON_S)
    assert runs.count == attempts
    assert (await handle.get()).attempt == attempts


async def test_a_job_has_twenty_attempts_by_default(engine: Engine) -> None:
    runs = Tally()

    @job(backoff=AT_ONCE)
    def fail() -> None:
        runs.count += 1
        raise ValueError

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)
    assert runs.count == 20


async def test_a_failure_is_kept_with_type_message_and_traceback(engine: Engine) -> None:
    @job(max_attempts=1)
    def fail() -> None:
        try:
            {}["key"]
        except KeyError:
            raise ValueError("no such order") from None

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)
    error = caught.value.error
    assert error is not None
    assert (error["type"], error["message"]) == ("ValueError", "no such order")
    assert 'raise ValueError("no such order")' in error["traceback"]
    assert (await handle.get()).error == error


async def test_an_exception_that_cannot_be_shown_is_a_failure_like_others(engine: Engine) -> None:
    @job(max_attempts=1)
    async def fail() -> None:
        raise Rude

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed, match="cannot be shown"):
        await handle.result(SOON_S)


async def test_the_last_error_stays_on_an_instance_that_succeeded_later(engine: Engine) -> None:
    @job(backoff=AT_ONCE)
    async def fail_once(ctx: Context) -> int:
        if ctx.attempt == 0:
            raise ValueError("not yet")
        return ctx.attempt

    handle = await engine.start(fail_once.new())

    assert await handle.result(SOON_S) == 1
    instance = await handle.get()
    assert instance.attempt == 1
    assert instance.error is not None
    assert instance.error["message"] == "not yet"


async def test_retry_runs_the_job_again_and_counts(engine: Engine) -> None:
    attempts: list[int] = []

    @job
    async def wait(ctx: Context) -> str | Retry:
        attempts.append(ctx.attempt)
        return "done" if ctx.attempt == 2 else Retry(reason="not there yet")

    handle = await engine.start(wait.new())

    assert await handle.result(SOON_S) == "done"
    assert attempts == [0, 1, 2]
    error = (await handle.get()).error
    assert error is not None
    assert (error["type"], error["message"]) == ("Retry", "not there yet")


async def test_retry_is_bound_by_max_attempts(engine: Engine) -> None:
    runs = Tally()

    @job(max_attempts=3)
    def wait() -> Retry:
        runs.count += 1
        return Retry(reason="still not there")

    handle = await engine.start(wait.new())

    with pytest.raises(InstanceFailed, match="still not there"):
        await handle.result(SOON_S)
    assert runs.count == 3


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        pytest.param(Retry(100), 100, id="seconds"),
        pytest.param(Retry(timedelta(minutes=5)), 300, id="a timedelta"),
        pytest.param(Retry(None), 70, id="None: the backoff"),
    ],
)
async def test_the_delay_of_retry_is_stored_as_a_due_time(engine: Engine, answer: Retry, wait_s: float) -> None:
    @job(backoff=backoff.constant(70))
    async def wait() -> Retry:
        return answer

    assert await _first_wait_s(engine, wait) == pytest.approx(wait_s, abs=2)


@pytest.mark.parametrize(
    ("policy", "wait_s"),
    [
        pytest.param(None, 1, id="default"),
        pytest.param(backoff.exponential(base=40), 40, id="exponential"),
        pytest.param(backoff.exponential(base=40, cap=30), 30, id="capped"),
        pytest.param(backoff.linear(base=timedelta(minutes=1)), 60, id="linear"),
        pytest.param(lambda failures: timedelta(seconds=50 * failures), 50, id="own"),
    ],
)
async def test_the_backoff_is_stored_as_a_due_time(engine: Engine, policy: Any, wait_s: float) -> None:
    @job(backoff=policy)
    async def fail() -> None:
        raise ValueError

    assert await _first_wait_s(engine, fail) == pytest.approx(wait_s, abs=0.9)


async def test_the_backoff_counts_failures_from_one(engine: Engine) -> None:
    asked: list[int] = []

    def wait_s(failures: int) -> float:
        asked.append(failures)
        return 0

    @job(max_attempts=4, backoff=wait_s)
    async def fail() -> None:
        raise ValueError

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)
    assert asked == [1, 2, 3]


async def test_a_backoff_that_raises_ends_the_job(engine: Engine) -> None:
    def broken(failures: int) -> float:
        raise ZeroDivisionError("in the backoff")

    assert "ZeroDivisionError: in the backoff" in await _failure_with(engine, broken)


@pytest.mark.parametrize("answer", ["soon", None, -1, float("nan"), float("inf"), 1e12, True, [1]])
async def test_a_backoff_that_answers_nonsense_ends_the_job(engine: Engine, answer: Any) -> None:
    assert "the backoff's answer must be" in await _failure_with(engine, lambda failures: answer)


async def test_a_short_backoff_is_waited_out_without_polling(engine: Engine) -> None:
    @job(backoff=backoff.constant(0.05))
    async def fail_twice(ctx: Context) -> int:
        if ctx.attempt < 2:
            raise ValueError
        return ctx.attempt

    handle = await engine.start(fail_twice.new())

    assert await handle.result(SOON_S) == 2


async def test_attempts_commit_once_each(engine: Engine, table: Table) -> None:
    @job(max_attempts=3, backoff=AT_ONCE)
    async def fail() -> None:
        raise ValueError

    handle = await engine.start(fail.new())

    with pytest.raises(InstanceFailed):
        await handle.result(SOON_S)
    assert (table.seen(handle.id, "commits"), table.seen(handle.id, "epoch")) == (3, 3)


async def _first_wait_s(engine: Engine, work: Any) -> float:
    """Seconds between the first attempt and the time stored for the second."""
    ear = Ear(engine)
    handle = await engine.start(work.new())
    await ear.hears("commit.stop")
    instance = await handle.get()
    assert (instance.status, instance.attempt) == ("scheduled", 1)
    assert instance.claimed_at is not None
    return (instance.due_at - instance.claimed_at).total_seconds()


async def _failure_with(engine: Engine, policy: Callable[[int], Any]) -> str:
    runs = Tally()

    @job(backoff=policy)
    async def fail() -> None:
        runs.add()
        raise ValueError

    handle = await engine.start(fail.new())
    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)
    assert runs.count == 1
    return str(caught.value)
