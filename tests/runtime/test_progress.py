"""Progress: the last word of each run, written together, now and then."""

import asyncio
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast._runtime import progress as module
from outlast._runtime.events import Events
from outlast._runtime.progress import ProgressBook
from outlast._runtime.rounds import Rounds
from outlast._world import SystemWorld
from tests.store.given import Given


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)


async def _seen(given: Given, id: str) -> tuple[float | None, str | None]:
    row = await given.read(id)
    return row.progress, row.progress_note


async def test_the_last_report_of_each_run_is_written_in_one_call(given: Given) -> None:
    one, two = await given.claimed(2)
    book = ProgressBook(given.store.claims)
    calls: list[Any] = []
    real = given.store.claims.report

    async def report(reports: Any) -> None:
        calls.append(reports)
        await real(reports)

    given.store.claims.report = report  # type: ignore[method-assign]
    for step in range(5):
        book.put(one.id, one.epoch, step / 10, f"step {step}")
    book.put(two.id, two.epoch, 1.0, "")

    await book.beat()
    await book.beat()

    assert len(calls) == 1
    assert await _seen(given, one.id) == (0.4, "step 4")
    assert await _seen(given, two.id) == (1.0, "")


async def test_a_run_that_lost_its_claim_reports_to_nobody(given: Given) -> None:
    claim = await given.claim()
    await given.store.claims.release([(claim.id, claim.epoch)])
    await given.taken(node="bob")
    book = ProgressBook(given.store.claims)

    book.put(claim.id, claim.epoch, 0.5, "late")
    await book.beat()

    assert await _seen(given, claim.id) == (None, None)


async def test_notes_are_made_safe_and_short(given: Given) -> None:
    claim = await given.claim()
    book = ProgressBook(given.store.claims)

    book.put(claim.id, claim.epoch, 0.5, "a\x00b\ud800" + "x" * 10_000)
    await book.beat()

    _, note = await _seen(given, claim.id)
    assert note is not None
    assert note.startswith("a\\0b?xxx")
    assert len(note) < 600


async def test_a_report_from_a_thread_wakes_the_loop(
    given: Given, events: Events, loops: list[asyncio.Task[Any]]
) -> None:
    claim = await given.claim()
    book = ProgressBook(given.store.claims)
    rounds = Rounds(book, events=events, world=SystemWorld())
    book.begin(rounds)
    loops.append(asyncio.create_task(rounds.run()))

    await asyncio.to_thread(book.put, claim.id, claim.epoch, 0.5, "from a thread")

    async def is_seen() -> bool:
        return await _seen(given, claim.id) == (0.5, "from a thread")

    await eventually_async(is_seen)


def test_a_report_after_the_loop_is_closed_harms_nobody() -> None:
    books: list[ProgressBook] = []

    async def begin() -> None:
        nobody: Any = None
        book = ProgressBook(nobody)
        book.begin(Rounds(book, events=Events(""), world=SystemWorld()))
        books.append(book)

    asyncio.run(begin())

    books[0].put("id", 1, 0.5, "a step that was given up, and goes on")
