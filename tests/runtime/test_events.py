"""Events: logs, listeners, and threads."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from outlast._runtime.events import Events
from tests.runtime.stage import Heard, turns


async def test_a_listener_hears_names_and_fields(events: Events, heard: Heard) -> None:
    events.emit("step.stop", id="7", kind="done")

    assert heard.all == [("step.stop", {"engine": "test", "node": "", "id": "7", "kind": "done"})]


async def test_a_listener_is_called_on_the_loop_whoever_reports(events: Events) -> None:
    threads: list[int] = []
    events.listen(lambda name, fields: threads.append(threading.get_ident()))

    await asyncio.to_thread(events.emit, "loop.failed", loop="lease")
    await turns()

    assert threads == [threading.get_ident()]


async def test_a_listener_that_raises_takes_nobody_along(
    events: Events, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str, fields: dict[str, Any]) -> None:
        raise ZeroDivisionError

    events.listen(broken)
    later = Heard()
    events.listen(later)

    events.emit("step.stop", id="7")

    assert len(heard.all) == len(later.all) == 1
    assert "a listener of step.stop raised" in caplog.text


@pytest.mark.parametrize(
    ("name", "level"),
    [("store.away", "WARNING"), ("loop.failed", "ERROR"), ("engine.started", "INFO"), ("step.stop", "DEBUG")],
)
def test_each_event_has_its_level_and_its_fields(name: str, level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="outlast")

    Events("shop", "n1").emit(name, error="two\nlines", nothing=None)

    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage() == f"{name} error=two\\nlines"
    assert (vars(record)["outlast_engine"], vars(record)["outlast_error"]) == ("shop", "two\nlines")


def test_single_steps_are_reported_only_when_somebody_wants_to_hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="outlast")
    events = Events("", "")
    assert not events.wanted

    events.listen(lambda name, fields: None)

    assert events.wanted


def test_a_report_after_the_loop_is_closed_harms_nobody() -> None:
    events = Events("", "")

    async def begin() -> None:
        events.open()
        events.listen(lambda name, fields: None)

    asyncio.run(begin())

    thread = threading.Thread(target=events.emit, args=("loop.failed",))
    thread.start()
    thread.join()
