"""What a workflow waits for: time, signals, people. Each wait is recorded when it begins and when it is over."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from outlast._codec import decode_any, encode
from outlast._model import Entry, Letter
from outlast.config import checked_name, duration_s, shown
from outlast.errors import ConfigError, WorkflowError
from outlast.workflows.book import Book
from outlast.workflows.loop import current_flow


class Timeout(enum.Enum):
    """What a wait gives whose time was up, unless it has a `default`. It is false."""

    TIMEOUT = "timeout"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "TIMEOUT"


TIMEOUT: Final = Timeout.TIMEOUT
LATE: Final = {"late": True}


class Wait:
    """A wait of one branch.

    Attributes:
        key, kind: In the journal.
        names: Signals that may end it.
        timeout_s: Seconds that it lasts at most, or None.
        due_at: When that is, on the real loop's clock; None: never.
        future: Where the workflow's code waits.
    """

    kind = "sleep"

    def __init__(self, key: str, names: Sequence[str], timeout_s: float | None, default: Any) -> None:
        self.key = key
        self.names = tuple(names)
        self.timeout_s = timeout_s
        self.default = default
        self.due_at: float | None = None
        self.future: asyncio.Future[Any] | None = None

    def shown(self) -> str | None:
        """What people see of it while it lasts, as JSON text."""
        return None

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """What ends it, if that is in the inbox: the value to record, and the ids of the signals used up."""
        return None

    def late(self) -> Any:
        """What to record when its time is up."""
        return LATE

    def recall(self, recorded: Any) -> Any:
        """What the workflow's code gets for what was recorded."""
        return None

    def over(self, book: Book, value: Any) -> tuple[Entry, Callable[[], None]]:
        """What is recorded when it is over, and how the workflow's code is told."""
        text = encode(value, what=f"what {self.key!r} got")
        return book.entry(self.key, self.kind, "done", value=text), lambda: self.give(text)

    def give(self, text: str | None) -> None:
        """Gives the workflow's code what was recorded."""
        future = self.future
        if future is None or future.done():
            return
        try:
            future.set_result(self.recall(decode_any(text or "null")))
        except Exception as error:
            future.set_exception(error)


class SignalWait(Wait):
    """For one signal."""

    kind = "signal"

    def shown(self) -> str | None:
        """The signals' names."""
        return encode({"names": self.names}, what="a wait")

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """The oldest signal of one of the names."""
        for letter in inbox:
            if letter.name in self.names:
                return {"name": letter.name, "payload": decode_any(letter.payload)}, [letter.id]
        return None

    def recall(self, recorded: Any) -> Any:
        """The payload."""
        return self.default if recorded == LATE else recorded["payload"]


class AnyWait(SignalWait):
    """For the first of several."""

    def recall(self, recorded: Any) -> Any:
        """Name and payload."""
        return self.default if recorded == LATE else (recorded["name"], recorded["payload"])


class AllWait(SignalWait):
    """For all of several."""

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """The oldest of each name, once there is one of each."""
        found: dict[str, Letter] = {}
        for letter in inbox:
            if letter.name in self.names:
                found.setdefault(letter.name, letter)
        if len(found) < len(self.names):
            return None
        payloads = {name: decode_any(found[name].payload) for name in self.names}
        return {"payloads": payloads}, [letter.id for letter in found.values()]

    def recall(self, recorded: Any) -> Any:
        """Payloads by name."""
        return self.default if recorded == LATE else recorded["payloads"]


async def sleep(duration: float | timedelta) -> None:
    """Waits so many seconds (or a timedelta), durably: for days, through restarts, holding nothing but a row.

    Raises: ConfigError. WorkflowError: not in a workflow's own code.
    """
    flow = flow_for("sleep")
    seconds = duration_s(duration, name="duration")
    await flow.wait(Wait(flow.key("sleep"), (), seconds, None))


async def sleep_until(moment: datetime) -> None:
    """Waits until an aware instant; not at all when it is past. Raises: as `sleep`."""
    flow = flow_for("sleep_until")
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigError(f"sleep_until takes an aware datetime, not {shown(moment)}")
    seconds = max(0.0, flow.seconds_until(moment))
    await flow.wait(Wait(flow.key("sleep"), (), seconds, None))


async def wait_for_signal(name: str, *, timeout: float | timedelta | None = None, default: Any = TIMEOUT) -> Any:
    """The payload of the next signal of this name. One that came before the wait counts.

    Args:
        name: As in `engine.signal(id, name, payload)`.
        timeout: Seconds to wait at most; None: for ever.
        default: What to return when that time is up; `TIMEOUT`, which is false, by default.

    Raises: ConfigError. WorkflowError: not in a workflow's own code.
    """
    flow = flow_for("wait_for_signal")
    checked_name(name, what="a signal's name")
    return await flow.wait(SignalWait(flow.key(f"signal:{name}"), [name], timeout_s(timeout), default))


async def wait_for_any(*names: str, timeout: float | timedelta | None = None, default: Any = TIMEOUT) -> Any:
    """Name and payload of the first signal of one of these names. Otherwise as `wait_for_signal`."""
    flow = flow_for("wait_for_any")
    key = flow.key(f"any:{','.join(_names(names))}")
    return await flow.wait(AnyWait(key, names, timeout_s(timeout), default))


async def wait_for_all(*names: str, timeout: float | timedelta | None = None, default: Any = TIMEOUT) -> Any:
    """The payloads by name, once there is a signal of each of these names; none is used up before.

    Otherwise as `wait_for_signal`.
    """
    flow = flow_for("wait_for_all")
    key = flow.key(f"all:{','.join(_names(names))}")
    return await flow.wait(AllWait(key, names, timeout_s(timeout), default))


for _primitive in (sleep, sleep_until, wait_for_signal, wait_for_any, wait_for_all):
    setattr(_primitive, "outlast_primitive", _primitive.__name__)  # noqa: B010


def flow_for(what: str) -> Any:
    """The flow whose code calls this. Raises: WorkflowError: it is no workflow's."""
    flow = current_flow()
    if flow is None:
        raise WorkflowError(f"{what} is for a workflow's own code; it was called outside of one, or in a step")
    return flow


def timeout_s(timeout: float | timedelta | None) -> float | None:
    """A timeout in seconds, or None. Raises: ConfigError."""
    return None if timeout is None else duration_s(timeout, name="timeout")


def _names(names: Sequence[str]) -> Sequence[str]:
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"different names of signals were expected, at least one, not {shown(names)}")
    for name in names:
        checked_name(name, what="a signal's name")
    return names
