"""Threads for `def` steps: bounded, given up, and back again."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest

from harness.waiting import eventually_async
from outlast._runtime.events import Events
from outlast._runtime.threads import Threads
from tests.runtime.stage import SOON_S, Heard, soon, turns

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


class Gate:
    """Calls that block until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def pass_through(self) -> str:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.open.wait(SOON_S)
        with self._lock:
            self.running -= 1
        return "through"

    async def has_begun(self, count: int = 1) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=SOON_S)


class Pool(Protocol):
    def __call__(self, limit: int, *, may_begin: Callable[[], bool] = ...) -> Threads: ...


@pytest.fixture
async def pool(events: Events) -> AsyncIterator[Pool]:
    """Makes pools, closed at the test's end."""
    made: list[Threads] = []

    def make(limit: int, *, may_begin: Callable[[], bool] = lambda: True) -> Threads:
        made.append(Threads(limit, events, may_begin=may_begin))
        return made[-1]

    yield make
    for threads in made:
        await threads.close()


@pytest.fixture
def gate() -> Gate:
    return Gate()


def _alive() -> int:
    return len([thread for thread in threading.enumerate() if thread.name == "outlast-step"])


async def test_a_call_returns_and_raises_as_it_does(pool: Pool) -> None:
    threads = pool(2)

    assert await threads.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)


async def test_it_sees_the_context_of_its_caller_and_leaves_it_alone(pool: Pool) -> None:
    threads = pool(1)
    word.set("mine")

    def look() -> str:
        found = word.get()
        word.set("theirs")
        return found

    assert [await threads.run(look) for _ in range(2)] == ["mine", "mine"]
    assert word.get() == "mine"


async def test_no_more_run_at_once_than_the_limit(pool: Pool, gate: Gate) -> None:
    threads = pool(3)
    calls = [asyncio.create_task(threads.run(gate.pass_through)) for _ in range(10)]
    await gate.has_begun(3)
    await turns()
    assert gate.running == 3
    gate.open.set()

    assert await soon(asyncio.gather(*calls)) == ["through"] * 10
    assert gate.most == 3
    assert _alive() <= 3


async def test_an_idle_thread_is_used_before_a_new_one(pool: Pool) -> None:
    threads = pool(10)

    names = {await threads.run(threading.get_ident) for _ in range(20)}

    assert len(names) == 1


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit(), StopIteration(3)]
)
async def test_whatever_a_call_raises_its_thread_serves_on(pool: Pool, error: BaseException, heard: Heard) -> None:
    threads = pool(1)

    def fail() -> None:
        raise error

    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        await threads.run(fail)

    assert await soon(threads.run(lambda: "served")) == "served"
    assert threads.stuck == 0
    assert heard.of("step.abandoned") == []


async def test_a_given_up_call_makes_room_for_what_waits_behind_it(pool: Pool, gate: Gate, heard: Heard) -> None:
    threads = pool(1)
    stuck = asyncio.create_task(threads.run(gate.pass_through))
    await gate.has_begun()
    waiting = asyncio.create_task(threads.run(lambda: "served"))
    await turns()

    stuck.cancel()

    assert await soon(waiting) == "served"
    assert threads.stuck == 1
    assert [said["stuck"] for said in heard.of("step.abandoned")] == [1]
    gate.open.set()
    await eventually_async(lambda: threads.stuck == 0)


async def test_a_call_given_up_before_it_began_never_begins(pool: Pool, gate: Gate) -> None:
    threads = pool(1)
    busy = asyncio.create_task(threads.run(gate.pass_through))
    await gate.has_begun()
    began: list[int] = []
    waiting = asyncio.create_task(threads.run(lambda: began.append(1)))
    await turns()

    waiting.cancel()
    await turns()
    gate.open.set()

    assert await soon(busy) == "through"
    assert await soon(threads.run(lambda: "served")) == "served"
    assert (began, threads.stuck) == ([], 0)


async def test_a_call_given_up_as_it_ends_is_not_counted_as_stuck(pool: Pool) -> None:
    threads = pool(1)

    for _ in range(200):
        ended = threading.Event()
        call = asyncio.create_task(threads.run(ended.set))
        await asyncio.sleep(0)
        ended.wait(SOON_S)  # its answer is on the way, and the loop has not taken it yet.
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    assert await soon(threads.run(lambda: "served")) == "served"
    await eventually_async(lambda: threads.stuck == 0)


async def test_when_too_many_are_stuck_work_waits_for_one_to_come_back(pool: Pool, gate: Gate) -> None:
    threads = pool(2)
    for _ in range(3):  # one more than the limit.
        call = asyncio.create_task(threads.run(gate.pass_through))
        await gate.has_begun()
        call.cancel()
    await turns()
    assert threads.stuck == 3
    waiting = asyncio.create_task(threads.run(lambda: "served"))
    await turns()
    assert not waiting.done()

    gate.open.set()

    assert await soon(waiting) == "served"
    await eventually_async(lambda: threads.stuck == 0)
    assert _alive() <= 3


async def test_what_may_not_begin_waits_until_it_may_or_is_given_up(pool: Pool) -> None:
    asked, may, begun = threading.Semaphore(0), threading.Event(), list[str]()

    def may_begin() -> bool:
        asked.release()
        return may.is_set()

    threads = pool(2, may_begin=may_begin)
    wanted, given_up = (asyncio.create_task(threads.run(lambda word=word: begun.append(word))) for word in "ab")
    for _ in range(4):
        assert await asyncio.to_thread(asked.acquire, timeout=SOON_S)
    assert begun == []

    given_up.cancel()
    await turns()
    may.set()
    await soon(wanted)
    await soon(threads.close())

    assert begun == ["a"]


async def test_closing_ends_idle_threads_and_waits_for_no_stuck_one(events: Events, gate: Gate) -> None:
    threads = Threads(4, events, may_begin=lambda: True)
    await asyncio.gather(*(threads.run(lambda: None) for _ in range(4)))
    stuck = asyncio.create_task(threads.run(gate.pass_through))
    await gate.has_begun()
    stuck.cancel()
    await turns()

    await soon(threads.close())

    assert _alive() == 1
    gate.open.set()
    await eventually_async(lambda: _alive() == 0)


async def test_closing_an_unused_pool_does_nothing(events: Events) -> None:
    await soon(Threads(4, events, may_begin=lambda: True).close())
