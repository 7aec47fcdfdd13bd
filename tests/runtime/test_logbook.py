"""The book of lines alone: what is said when nobody can write it any more."""

import asyncio
import logging
from collections import deque
from types import SimpleNamespace
from typing import Any

from outlast._kernel.program import DOING
from outlast._model import Line
from outlast._runtime import logbook as module
from outlast._runtime.events import Events
from outlast._runtime.logbook import LogBook, fields_text
from outlast._runtime.rounds import Rounds
from outlast._world import SystemWorld
from outlast.config import Config
from outlast.errors import StoreUnavailable
from tests.runtime.stage import Heard


class Shelf:
    """A store's logs that fail when told to."""

    def __init__(self) -> None:
        self.written: list[Line] = []
        self.error: Exception | None = None

    async def write(self, batch: list[Line], lines_max: int) -> None:
        if self.error is not None:
            raise self.error
        self.written += batch


def made(shelf: Any, **options: Any) -> tuple[LogBook, Any, Heard]:
    events, heard = Events("test"), Heard()
    events.listen(heard)
    book = LogBook(shelf, Config(log_capture="all", **options), events=events, world=SystemWorld())
    claim = SimpleNamespace(id="i", epoch=1, step="run", attempt=0)
    return book, SimpleNamespace(claim=claim, lines=iter(range(1, 100))), heard


def record(text: str = "x", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "shop", "msg": text, "levelno": level, **extra})


async def test_lines_that_could_not_be_written_keep_their_order() -> None:
    shelf = Shelf()
    book, run, _ = made(shelf)
    shelf.error = StoreUnavailable("away")
    book.logged(run, record("a"))
    book.logged(run, record("b"))

    for _ in range(2):
        try:
            await book.flush()
        except StoreUnavailable:
            book.logged(run, record("c"))
    shelf.error = None
    await book.flush()

    assert [line.message for line in shelf.written] == ["a", "b", "c", "c"]


async def test_lines_that_the_database_refuses_are_dropped_and_counted_and_others_are_not() -> None:
    shelf = Shelf()
    book, run, heard = made(shelf)
    book.logged(run, record("refused"))
    shelf.error = ValueError("no such column")
    try:
        await book.beat()
    except ValueError:
        shelf.error = None

    book.logged(run, record("fine"))
    await book.flush()

    assert [line.message for line in shelf.written] == ["fine"]
    assert [fields["count"] for fields in heard.of("logs.dropped")] == [1]


async def test_what_is_kept_through_an_outage_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "BUFFER_MAX", 3)
    shelf = Shelf()
    book, run, heard = made(shelf)
    book._lines = deque(maxlen=3)
    shelf.error = StoreUnavailable("away")
    for number in range(3):
        book.logged(run, record(str(number)))

    real = shelf.write

    async def write(batch: list[Line], lines_max: int) -> None:
        book.logged(run, record("said meanwhile"))
        await real(batch, lines_max)

    shelf.write = write  # type: ignore[method-assign]
    try:
        await book.beat()
    except StoreUnavailable:
        shelf.error, shelf.write = None, real  # type: ignore[method-assign]
    await book.flush()

    assert [line.message for line in shelf.written] == ["1", "2", "said meanwhile"]
    assert [fields["count"] for fields in heard.of("logs.dropped")] == [1]


def test_a_line_after_the_loop_is_closed_harms_nobody() -> None:
    books: list[tuple[LogBook, Any]] = []

    async def begin() -> None:
        book, run, _ = made(Shelf())
        book.open(Rounds(book, events=Events(""), world=SystemWorld()))
        books.append((book, run))

    asyncio.run(begin())
    book, run = books[0]

    assert book.logged(run, record("a step that was given up, and goes on"))
    book.close()
    assert book.printed(run, "still\n")
    assert not book._lines


def test_a_workflows_own_code_is_not_heard() -> None:
    book, run, _ = made(Shelf())
    run.claim.step = "workflow"

    assert book.logged(run, record())
    assert not book._lines
    token = DOING.set(("pay#1", 2))
    book.logged(run, record())
    DOING.reset(token)

    assert [(line.step, line.attempt) for line in book._lines] == [("pay#1", 2)]


def test_fields_are_what_extra_gave_and_no_more() -> None:
    plain = fields_text(record(), 100)
    full = fields_text(record(order=7, outlast_id="i", asctime="now", who={"name": "ann"}), 100)

    assert plain == '{"logger":"shop"}'
    assert full == '{"logger":"shop","order":7,"who":{"name":"ann"}}'
