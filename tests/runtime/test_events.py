"""Events: logs, listeners, and threads."""

import ast
import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import outlast
from outlast._runtime.events import Events
from outlast._runtime.scheme import SCHEME
from outlast.errors import ConfigError
from tests.runtime.stage import Heard, turns

PACKAGE = Path(outlast.__file__).parent


async def test_a_listener_hears_names_and_fields(events: Events, heard: Heard) -> None:
    events.emit("step.stop", id="7", kind="done")

    assert heard.all == [("step.stop", {"engine": "test", "id": "7", "kind": "done"})]


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

    Events("shop").emit(name, error="two\nlines", nothing=None)

    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage() == f"{name} error=two\\nlines"
    assert (vars(record)["outlast_engine"], vars(record)["outlast_error"]) == ("shop", "two\nlines")


def test_a_line_without_fields_is_the_name_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="outlast")

    Events("e").emit("engine.stopped")
    Events("e").emit("engine.started", store=None)

    assert [record.getMessage() for record in caplog.records] == ["engine.stopped", "engine.started"]


def test_single_steps_are_reported_only_when_somebody_wants_to_hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="outlast")
    events = Events("")
    assert not events.wanted

    events.listen(lambda name, fields: None)

    assert events.wanted


def test_a_report_after_the_loop_is_closed_harms_nobody() -> None:
    events = Events("")

    async def begin() -> None:
        events.open()
        events.listen(lambda name, fields: None)

    asyncio.run(begin())

    thread = threading.Thread(target=events.emit, args=("loop.failed",))
    thread.start()
    thread.join()


async def test_a_listener_hears_what_its_pattern_fits_until_it_is_off(events: Events) -> None:
    heard: list[str] = []
    off = events.on("step.*", lambda name, fields: heard.append(name))
    twice = events.on("store.away", lambda name, fields: heard.append(name))

    for name in ("step.start", "step.stop", "claim.stop", "store.away"):
        events.emit(name)
    off()
    off()
    events.emit("step.stop")
    twice()
    events.emit("store.away")

    assert heard == ["step.start", "step.stop", "store.away"]


def test_who_hears_of_rare_events_only_makes_steps_no_slower() -> None:
    events = Events("")
    off = events.on("store.*", lambda name, fields: None)
    assert not events.wanted

    steps = events.on("step.stop", lambda name, fields: None)
    assert events.wanted

    steps()
    off()
    assert not events.wanted


def test_a_name_that_no_event_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no event is called .step.stopped.; did you mean .step.stop"):
        Events("").on("step.stopped", lambda name, fields: None)
    with pytest.raises(ConfigError, match="no event is called 5"):
        Events("").on(5, lambda name, fields: None)  # type: ignore[arg-type]


def test_a_coroutine_function_is_refused() -> None:
    async def callback(name: str, fields: dict[str, Any]) -> None:
        """Nobody would await it."""

    with pytest.raises(ConfigError, match="start a task"):
        Events("").on("*", callback)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plain function"):
        Events("").on("*", "callback")  # type: ignore[arg-type]


def _emitted() -> Iterator[tuple[str, int, str, set[str]]]:
    """Every call of `emit` in the package: file, line, event, and fields."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "emit":
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    spread = {"**" for keyword in node.keywords if keyword.arg is None}
                    fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                    yield str(path.relative_to(PACKAGE)), node.lineno, name.value, fields | spread


def test_every_event_that_is_reported_is_in_the_scheme_with_its_fields() -> None:
    wrong = [
        (file, line, name, fields)
        for file, line, name, fields in _emitted()
        if name not in SCHEME or not fields - {"**"} <= set(SCHEME[name].fields)
    ]

    assert wrong == []


def test_the_scheme_names_nothing_that_is_never_reported() -> None:
    told: dict[str, set[str]] = {}
    for _, _, name, fields in _emitted():
        told.setdefault(name, set()).update(fields)

    assert told.keys() == SCHEME.keys()
    for name, kind in SCHEME.items():
        assert "**" in told[name] or set(kind.fields) == told[name], name


def test_names_are_noun_and_verb() -> None:
    assert [name for name in SCHEME if not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []


def test_the_page_of_events_is_true() -> None:
    """Each event has one row: name, level, fields, what it says."""
    page = (PACKAGE.parent.parent / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {logging.getLevelName(kind.level).lower()} | "
        f"{', '.join(f'`{field}`' for field in kind.fields) or '-'} | {kind.says} |"
        for name, kind in SCHEME.items()
    ]

    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
