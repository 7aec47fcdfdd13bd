"""Assertions that say what they found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from outlast._codec import decode_any, encode
from outlast._kernel.program import WORKFLOW
from outlast._kernel.states import DONE, FAILED, READY, SCHEDULED, WAITING
from outlast._model import Instance
from outlast.engine import Engine
from outlast.engine.messages import Target
from outlast.errors import NotFound

_SHOWN_MAX: Final = 400
_ANY: Final = object()


async def instance(engine: Engine, target: Target) -> Instance | None:
    """An instance as it stands, by id, handle or correlation key (who holds it, else the newest that had it), or None.

    Works on any open engine.
    """
    try:
        return await engine.get(await engine._id_of(target))
    except NotFound:
        return None


async def assert_status(engine: Engine, target: Target, *statuses: str) -> Instance:
    """That the instance is in this status, or in one of these. Returns it."""
    found = await _found(engine, target)
    if found.status not in statuses:
        wanted = " or ".join(repr(status) for status in statuses)
        raise AssertionError(await _complaint(engine, found, f"expected {target!r} to be {wanted}"))
    return found


async def assert_awaiting(engine: Engine, target: Target, names: str | Iterable[str]) -> Instance:
    """That it waits for signals of exactly these names. Returns it."""
    wanted = {names} if isinstance(names, str) else set(names)
    found = await _found(engine, target)
    if found.status != WAITING or set(found.awaits or ()) != wanted:
        raise AssertionError(await _complaint(engine, found, f"expected {target!r} to wait for {_listed(wanted)}"))
    return found


async def assert_done(engine: Engine, target: Target, result: Any = _ANY) -> Any:
    """That it is done, and with this result where one is given; compared as stored data. Returns the result."""
    found = await _found(engine, target)
    if found.status != DONE:
        raise AssertionError(await _complaint(engine, found, f"expected {target!r} to be done"))
    if result is not _ANY and found.result != (wanted := decode_any(encode(result, what="the expected result"))):
        raise AssertionError(
            await _complaint(engine, found, f"expected {target!r} to be done with {wanted!r}, not {found.result!r}")
        )
    return found.result


async def assert_failed(engine: Engine, target: Target, match: str | re.Pattern[str] = "") -> dict[str, Any]:
    """That it failed, with an error that contains this text, or in which this compiled pattern is found.

    The error reads as "Type: message". Returns it as `{"type", "message", "traceback"}`.
    """
    found = await _found(engine, target)
    if found.status != FAILED:
        raise AssertionError(await _complaint(engine, found, f"expected {target!r} to have failed"))
    error = found.error or {}
    text = _error_text(error)
    if not (match in text if isinstance(match, str) else match.search(text)):
        wanted = match if isinstance(match, str) else match.pattern
        raise AssertionError(
            await _complaint(engine, found, f"expected {target!r} to have failed with {wanted!r}, not {text!r}")
        )
    return error


async def describe(engine: Engine, target: Target) -> str:
    """An instance in some lines, for a test's output: where it stands, what it waits for, its inbox, its error."""
    return "\n".join(await _lines(engine, await _found(engine, target)))


async def _found(engine: Engine, target: Target) -> Instance:
    found = await instance(engine, target)
    if found is None:
        raise AssertionError(f"there is no instance {target!r}: never started, or deleted by retention")
    return found


async def _complaint(engine: Engine, found: Instance, expected: str) -> str:
    return "\n".join([f"{expected}; it is {found.status!r}", *await _lines(engine, found)])


async def _lines(engine: Engine, found: Instance) -> list[str]:
    lines = [
        f"  instance  {found.id}: {found.program} version {found.version}, step {found.step!r}, queue {found.queue!r}",
        f"  status    {found.status}, attempt {found.attempt}, crashes {found.crashes}",
        f"  state     {_brief(found.state)}",
    ]
    if found.status == WAITING:
        until = "" if found.wake_at is None else f", until {found.wake_at.isoformat()}"
        other = "time" if found.step == WORKFLOW else "its children"
        lines.append(f"  waits for {_listed(found.awaits) if found.awaits else other}{until}")
    if found.status == SCHEDULED:
        lines.append(f"  due at    {found.due_at.isoformat()}")
    if found.blocked_on is not None:
        lines.append(f"  blocked   on {found.blocked_on}")
    if inbox := [signal for signal in await engine.signals(found) if signal.consumed_at is None]:
        lines.append(f"  inbox     {', '.join(f'{signal.name} {_brief(signal.payload)}' for signal in inbox)}")
    if found.result is not None:
        lines.append(f"  result    {_brief(found.result)}")
    if found.error is not None:
        lines.append(f"  error     {_brief(_error_text(found.error))}")
    if found.status in (READY, SCHEDULED):
        lines.append("  It has not run yet: did the test drain?")
    return lines


def _error_text(error: dict[str, Any]) -> str:
    return f"{error.get('type')}: {error.get('message')}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
