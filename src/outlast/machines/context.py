"""What a running step sees: itself, the signals it was sent, and the children it started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from outlast._codec import decode_any
from outlast._kernel.failures import read_error
from outlast._kernel.progress import checked_report
from outlast._kernel.states import DONE, FINAL
from outlast._model import Letter, Row
from outlast._world import instant
from outlast.config import shown
from outlast.errors import ChildrenFailed, ConfigError

PAGE: Final = 1_000
"""Children that are read at once."""
_NOTE_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class ReceivedSignal:
    """A signal as a step sees it.

    Attributes:
        id: Its own id.
        name: What it is called.
        payload: What it carries, as plain data.
        sent_at: When it was stored, an aware instant in UTC.
    """

    id: str
    name: str
    payload: Any
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class ChildResult:
    """A child as its parent sees it.

    Attributes:
        id: The instance.
        number: Its place in the `Spawn`, from 0.
        round: Which `Spawn` of the parent it came from, from 1.
        program, version: What it runs.
        status: How it stands; after a `Spawn` without `need` or timeout always a final status.
        state: Its state (a job's arguments), as plain data.
        result: What it returned, as plain data; None unless it is done.
        error: `{"type", "message", "traceback"}` of its failure, or None.
    """

    id: str
    number: int
    round: int
    program: str
    version: int
    status: str
    state: Any
    result: Any
    error: dict[str, Any] | None

    @property
    def done(self) -> bool:
        """Whether it ended well."""
        return self.status == DONE

    @property
    def ended(self) -> bool:
        """Whether it ended at all."""
        return self.status in FINAL


class _Parent(Protocol):
    async def children(self, round: int | None, after: tuple[int, int] | None, limit: int) -> Sequence[Row]:
        """See `kernel.program.Activation`."""


class Children:
    """The children of the last `Spawn`, in its order, read 1,000 at a time as you go through them.

        async for child in ctx.children: ...    # in `async def`
        for child in ctx.children: ...          # in `def`, which runs on a thread

    Those of earlier rounds: `ctx.children.of_round(1)`, or `ctx.children.of_round(None)` for all.
    """

    def __init__(self, parent: _Parent | None, round: int | None, loop: asyncio.AbstractEventLoop | None) -> None:
        self._parent = parent
        self._round = round
        self._loop = loop

    def of_round(self, round: int | None) -> Children:
        """Those of the given round (1 is the first `Spawn`), or of all."""
        return Children(self._parent, round, self._loop)

    async def page(self, after: ChildResult | None = None, limit: int = PAGE) -> list[ChildResult]:
        """Up to `limit` children that come after the one given; an empty list: there are no more."""
        if not 1 <= limit <= PAGE:
            raise ConfigError(f"limit must be a whole number from 1 to {PAGE:,}, not {shown(limit)}")
        if self._parent is None or self._round == 0:
            return []
        place = None if after is None else (after.round, after.number)
        return [_read_child(row) for row in await self._parent.children(self._round, place, limit)]

    async def all(self) -> list[ChildResult]:
        """All of them at once. Costs memory: with many, go through them instead."""
        return [child async for child in self]

    async def results(self) -> list[Any]:
        """What each returned, in order. Raises: ChildrenFailed: some did not end well."""
        found: list[Any] = []
        bad: list[ChildResult] = []
        async for child in self:
            found.append(child.result)
            if not child.done:
                bad.append(child)
        if bad:
            first = bad[0]
            reason = first.error["message"] if first.error else ""
            raise ChildrenFailed(
                f"{len(bad):,} of {len(found):,} children did not end well; the first is {first.id}, "
                f"{first.status}{': ' if reason else ''}{reason}",
                [child.id for child in bad],
            )
        return found

    async def failed(self) -> list[ChildResult]:
        """Those that ended otherwise than well."""
        return [child async for child in self if child.ended and not child.done]

    async def __aiter__(self) -> AsyncIterator[ChildResult]:
        last: ChildResult | None = None
        while page := await self.page(last):
            for child in page:
                yield child
            if len(page) < PAGE:
                return
            last = page[-1]

    def __iter__(self) -> Iterator[ChildResult]:
        if _on_a_loop():
            raise ConfigError("in an `async def` step, go through the children with `async for`")
        if self._loop is None:
            return
        last: ChildResult | None = None
        while page := asyncio.run_coroutine_threadsafe(self.page(last), self._loop).result():
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]


class StepContext:
    """What a running step may know of itself.

    Attributes:
        id: The instance.
        program, version: What runs; `version` is that of the row, before any upgrade.
        step: The step's name.
        attempt: Times that this step was retried; 0 on the first run.
        queue: The queue it was claimed from.
        key: Its correlation key, or None.
        deadline: When the step's `timeout` strikes, as an aware instant in UTC, or None.
        signals: The whole inbox: every signal that no step has used up, oldest first, as it was when the instance was
            claimed. A machine that runs ahead is claimed anew after 20 steps at the latest.
        awaited: Those of them that the last `Await` named; empty when its timeout woke the instance. They are used up
            when this step ends with `Next`, `Spawn`, `Done`, `Stop` or `Cancel`; after `Retry` or `Await` they stay.
        children: The children of the last `Spawn`; see `Children`.
    """

    def __init__(
        self,
        *,
        id: str = "",
        program: str = "",
        version: int = 1,
        step: str = "start",
        attempt: int = 0,
        queue: str = "default",
        key: str | None = None,
        deadline: datetime | None = None,
        signals: Sequence[ReceivedSignal] = (),
        awaits: Sequence[str] = (),
        children: Children | None = None,
        report: Any = None,
    ) -> None:
        self.id = id
        self.program = program
        self.version = version
        self.step = step
        self.attempt = attempt
        self.queue = queue
        self.key = key
        self.deadline = deadline
        self.signals = list(signals)
        self.awaited = [signal for signal in self.signals if signal.name in awaits]
        self.children = Children(None, None, None) if children is None else children
        self._consumed: list[str] = []
        self._report = report

    def consume(self, *signals: ReceivedSignal) -> None:
        """Uses signals of the inbox up with this step's outcome (any but `Retry`), awaited or not."""
        self._consumed += [signal.id for signal in signals]

    def progress(self, fraction: float, note: str = "") -> None:
        """Shows how far the step is, to whoever reads the instance. Cheap, best effort, from any thread.

        Raises: ConfigError: the fraction is not between 0 and 1.
        """
        report = checked_report(fraction, note)
        if self._report is not None:
            self._report(*report)


def read_letter(letter: Letter) -> ReceivedSignal:
    """A stored signal as a step sees it."""
    return ReceivedSignal(letter.id, letter.name, decode_any(letter.payload), letter.sent_at)


def deadline_of(due_us: int | None) -> datetime | None:
    """An instant in microseconds since 1970 as a datetime."""
    return None if due_us is None else instant(due_us)


def _read_child(row: Row) -> ChildResult:
    return ChildResult(
        id=row.id,
        number=row.child,
        round=row.round,
        program=row.program,
        version=row.version,
        status=row.status,
        state=decode_any(row.state),
        result=None if row.result is None else decode_any(row.result),
        error=read_error(row.error),
    )


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
