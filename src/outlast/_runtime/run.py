"""One claimed instance being run, and what all runs of a process work with."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Protocol, TypeVar, cast

from outlast._kernel.outcomes import Recorded
from outlast._kernel.program import RUNNING, Program, Resident
from outlast._kernel.requests import StartOptions, StartRequest
from outlast._kernel.settle import recorded
from outlast._model import Claim, Letter, NewInstance, Note, Row, Settlement
from outlast._runtime.eager import Eager
from outlast._runtime.events import Events
from outlast._runtime.patience import Patience
from outlast._runtime.progress import ProgressBook
from outlast._runtime.residents import Residents
from outlast._runtime.starts import Starts
from outlast._runtime.threads import Threads
from outlast._store.contract import Instances, Journal, Signals
from outlast._world import World, instant_us

T = TypeVar("T")


class Why(enum.Enum):
    """Why a running step was stopped from outside."""

    DRAIN = "drain"
    """The engine shuts down: given back, at no attempt's cost."""
    FENCED = "fenced"
    """This process may have lost its lease: given back, in case it has not."""
    LOST = "lost"
    """The claim belongs to nobody or somebody else by now: nothing may be written."""


class Slot(Protocol):
    """Whoever gave the run its place."""

    name: str

    def freed(self, run: Run) -> None:
        """The run is over."""

    def may_go_on(self, run: Run) -> bool:
        """Whether a run may take another step before others have their turn."""


class Sink(Protocol):
    """Where outcomes go: the committer, or whoever stands in front of it."""

    def put(self, settlement: Settlement, queue: str, program: str) -> None:
        """Takes an outcome."""

    def durable(self, settlement: Settlement, queue: str, program: str) -> Awaitable[bool]:
        """Takes an outcome; the answer comes when it is durable. False: the claim was no longer ours."""

    def release(self, claims: list[tuple[str, int]], queue: str) -> None:
        """Gives claims back that were not run."""


class Scribe(Protocol):
    """Keeps what steps say."""

    def begin(self, run: Run) -> None:
        """A run is about to begin."""

    def logged(self, run: Run, record: logging.LogRecord) -> bool:
        """Takes a record of a run's step, from any thread. Whether it goes to the handlers, too."""

    def printed(self, run: Run, text: str) -> bool:
        """Takes a part of what a run's step prints, from any thread. Whether it is printed, too."""


@dataclass(slots=True, eq=False)
class Kit:
    """What all runs work with.

    Attributes:
        sink: Where outcomes go.
        instances: Where children are read.
        signals: Where the inbox is read.
        journal: Where is read what workflows have recorded.
        residents: Workflows whose code stays in memory while they wait.
        cancel_tree: Cancels an instance and all below it: its id, and why.
        may_begin: Whether steps may begin: this process owns what it has claimed, as far as its own clock can tell.
        starts: Makes rows of new instances.
        threads: Where plain functions run.
        progress: Takes what steps report of themselves.
        bytes_max: How large a state or result may be.
        scribe: Who keeps what steps say, or None.
        eager: Runs coroutines up to their first wait.
        stopping: Nothing new begins: the engine shuts down.
    """

    sink: Sink
    instances: Instances
    signals: Signals
    journal: Journal
    residents: Residents
    cancel_tree: Callable[[str, str], Awaitable[object]]
    may_begin: Callable[[], bool]
    starts: Starts
    threads: Threads
    progress: ProgressBook
    bytes_max: int
    events: Events
    world: World
    scribe: Scribe | None = None
    eager: Eager = field(default_factory=Eager)
    stopping: bool = False


class Run:
    """One claimed instance being run. What programs know as their activation."""

    __slots__ = (
        "begun",
        "claim",
        "deadline_us",
        "dice",
        "kit",
        "late",
        "lines",
        "paused",
        "program",
        "queue",
        "slot",
        "steps",
        "task",
        "threaded",
        "why",
    )

    def __init__(self, kit: Kit, claim: Claim, program: Program, slot: Slot) -> None:
        self.kit = kit
        self.claim = claim
        self.program = program
        self.slot = slot
        self.queue = slot.name
        self.dice: Random = kit.world.dice
        self.deadline_us: int | None = None
        self.why: Why | None = None
        self.threaded = False
        self.begun = False
        self.paused = False  # nothing more is begun; what runs may end.
        self.late = False  # when it looked at the lease: for good, as what it did not begin would be waited for.
        self.steps = 0
        self.lines: Iterator[int] | None = None  # numbers for what its steps say, once they say something.
        self.task: asyncio.Task[None] | None = None

    def facts(self) -> dict[str, Any]:
        """What events and logs say of the step that runs."""
        told = ("id", "program", "version", "step", "attempt")
        return {name: getattr(self.claim, name) for name in told} | {"queue": self.queue}

    def report(self, fraction: float, note: str) -> None:
        """See `kernel.program.Activation`."""
        self.kit.progress.put(self.claim.id, self.claim.epoch, fraction, note)

    def in_thread(self, call: Callable[[], Any]) -> Awaitable[Any]:
        """See `kernel.program.Activation`."""
        self.threaded = True
        return self.kit.threads.run(call)

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
        """See `kernel.program.Activation`."""
        return self.kit.eager.begin(coroutine)

    def new_instance(self, request: StartRequest[Any], options: StartOptions, *, anywhere: bool = False) -> NewInstance:
        """See `kernel.program.Activation`."""
        return self.kit.starts.row(request, options, anywhere=anywhere)

    @property
    def bytes_max(self) -> int:
        """See `kernel.program.Activation`."""
        return self.kit.bytes_max

    @property
    def stopping(self) -> bool:
        """See `kernel.program.Activation`."""
        return self.late or self.paused or self.kit.stopping

    def may_begin(self) -> bool:
        """See `kernel.program.Activation`."""
        self.late = self.late or not self.kit.may_begin()
        return not self.stopping

    def let_go(self) -> None:
        """See `kernel.program.Activation`."""
        self.why = self.why or (Why.FENCED if self.late else Why.DRAIN)
        raise asyncio.CancelledError

    def seconds_until(self, moment: datetime) -> float:
        """See `kernel.program.Activation`."""
        return (instant_us(moment) - self.kit.world.wall_us()) / 1_000_000

    def emit(self, event: str, **fields: Any) -> None:
        """See `kernel.program.Activation`."""
        claim = self.claim
        self.kit.events.emit(event, id=claim.id, program=claim.program, version=claim.version, **fields)

    async def inbox(self) -> Sequence[Letter]:
        """See `kernel.program.Activation`."""
        return await self._surely(lambda: self.kit.signals.inbox([self.claim.id]))

    async def cancel(self, id: str, reason: str) -> None:
        """See `kernel.program.Activation`."""
        await self.kit.cancel_tree(id, reason)

    def stay(self, resident: Resident) -> bool:
        """See `kernel.program.Activation`."""
        kit = self.kit
        return self.why is None and not kit.stopping and kit.residents.put(self.claim, self.program, resident)

    def resident(self) -> Resident | None:
        """See `kernel.program.Activation`."""
        return self.kit.residents.take(self.claim, self.program)

    async def notes(self) -> Sequence[Note]:
        """See `kernel.program.Activation`."""
        claim = self.claim
        if claim.left is not None:  # its resident went after that was not read.
            notes = await self._surely(lambda: self.kit.journal.notes([claim.id]))
            claim.notes, claim.left = notes, None
        return claim.notes

    async def record(self, outcome: Recorded) -> None:
        """See `kernel.program.Activation`."""
        claim = self.claim
        if self.why is not None:
            raise asyncio.CancelledError
        if not await self.kit.sink.durable(recorded(claim, outcome), self.queue, claim.program):
            self.why = self.why or Why.LOST
            raise asyncio.CancelledError
        claim.commits += 1
        self.forget(outcome.consumed)

    def forget(self, consumed: Sequence[str]) -> None:
        """These signals are used up."""
        if consumed:
            self.claim.letters = [letter for letter in self.claim.letters if letter.id not in consumed]

    async def children(self, round: int | None, after: tuple[int, int] | None, limit: int) -> Sequence[Row]:
        """See `kernel.program.Activation`."""
        read = self.kit.instances.children
        return await self._surely(lambda: read(self.claim.id, round=round, after=after, limit=limit))

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """A read for a step, through trouble of the database: that is no failure of the step's."""
        return await Patience("step", self.kit.events, self.kit.world).until_done(call)


CURRENT = cast("ContextVar[Run | None]", RUNNING)
"""The run whose step this code belongs to; in threads of steps, too."""
