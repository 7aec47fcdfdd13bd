"""Runs programs: one task per claimed instance, its deadline, and what becomes of it when it is stopped."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from random import Random
from typing import Any, Protocol, TypeVar, cast

from outlast._kernel.failures import brief, failure_text
from outlast._kernel.outcomes import Again, Failed, Moved, Outcome, Recorded
from outlast._kernel.program import RUNNING, Catalogue, Program, Resident
from outlast._kernel.requests import StartOptions, StartRequest
from outlast._kernel.settle import may_run_ahead, recorded, settle
from outlast._kernel.states import READY, SCHEDULED
from outlast._model import Claim, Letter, NewInstance, Note, Row, Settlement
from outlast._runtime.eager import Eager
from outlast._runtime.events import Events
from outlast._runtime.patience import Patience
from outlast._runtime.progress import ProgressBook
from outlast._runtime.residents import Residents
from outlast._runtime.starts import Starts
from outlast._runtime.threads import Threads
from outlast._runtime.tracing import Tracing
from outlast._store.contract import Instances, Journal, Signals
from outlast._world import World, instant_us
from outlast.errors import StepTimeout, ValueTooLarge

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


class Run:
    """One claimed instance being run. What programs know as their activation."""

    __slots__ = (
        "begun",
        "claim",
        "deadline_us",
        "dice",
        "executor",
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

    def __init__(self, executor: Executor, claim: Claim, program: Program, slot: Slot) -> None:
        self.executor = executor
        self.claim = claim
        self.program = program
        self.slot = slot
        self.queue = slot.name
        self.dice: Random = executor.world.dice
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
        self.executor.progress.put(self.claim.id, self.claim.epoch, fraction, note)

    def in_thread(self, call: Callable[[], Any]) -> Awaitable[Any]:
        """See `kernel.program.Activation`."""
        self.threaded = True
        return self.executor.threads.run(call)

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
        """See `kernel.program.Activation`."""
        return self.executor.eager.begin(coroutine)

    def new_instance(self, request: StartRequest[Any], options: StartOptions, *, anywhere: bool = False) -> NewInstance:
        """See `kernel.program.Activation`."""
        return self.executor.starts.row(request, options, anywhere=anywhere)

    @property
    def bytes_max(self) -> int:
        """See `kernel.program.Activation`."""
        return self.executor.bytes_max

    @property
    def stopping(self) -> bool:
        """See `kernel.program.Activation`."""
        return self.late or self.paused or self.executor.stopping

    def may_begin(self) -> bool:
        """See `kernel.program.Activation`."""
        self.late = self.late or not self.executor.may_begin()
        return not self.stopping

    def let_go(self) -> None:
        """See `kernel.program.Activation`."""
        self.why = self.why or (Why.FENCED if self.late else Why.DRAIN)
        raise asyncio.CancelledError

    def seconds_until(self, moment: datetime) -> float:
        """See `kernel.program.Activation`."""
        return (instant_us(moment) - self.executor.world.wall_us()) / 1_000_000

    def emit(self, event: str, **fields: Any) -> None:
        """See `kernel.program.Activation`."""
        self.executor.tell(self.claim, event, fields)

    async def inbox(self) -> Sequence[Letter]:
        """See `kernel.program.Activation`."""
        return await self._surely(lambda: self.executor.signals.inbox([self.claim.id]))

    async def cancel(self, id: str, reason: str) -> None:
        """See `kernel.program.Activation`."""
        await self.executor.cancel_tree(id, reason)

    def stay(self, resident: Resident) -> bool:
        """See `kernel.program.Activation`."""
        executor = self.executor
        return self.why is None and not executor.stopping and executor.residents.put(self.claim, self.program, resident)

    def resident(self) -> Resident | None:
        """See `kernel.program.Activation`."""
        return self.executor.residents.take(self.claim, self.program)

    async def notes(self) -> Sequence[Note]:
        """See `kernel.program.Activation`."""
        claim = self.claim
        if claim.left is not None:  # its resident went after that was not read.
            notes = await self._surely(lambda: self.executor.journal.notes([claim.id]))
            claim.notes, claim.left = notes, None
        return claim.notes

    def record(self, outcome: Recorded) -> Awaitable[None]:
        """See `kernel.program.Activation`."""
        return self.executor.record(self, outcome)

    async def children(self, round: int | None, after: tuple[int, int] | None, limit: int) -> Sequence[Row]:
        """See `kernel.program.Activation`."""
        read = self.executor.instances.children
        return await self._surely(lambda: read(self.claim.id, round=round, after=after, limit=limit))

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T:
        """A read for a step, through trouble of the database: that is no failure of the step's."""
        return await Patience("step", self.executor._events, self.executor.world).until_done(call)


CURRENT = cast("ContextVar[Run | None]", RUNNING)
"""The run whose step this code belongs to; in threads of steps, too."""


class Executor:
    """Starts runs and hands their outcomes on.

    Attributes:
        may_begin: Whether steps may begin: this process owns what it has claimed, as far as its own clock can tell.
        sink: Where they go.
        scribe: Who keeps what steps say, or None.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        sink: Sink,
        *,
        instances: Instances,
        signals: Signals,
        journal: Journal,
        residents: Residents,
        cancel_tree: Callable[[str, str], Awaitable[object]],
        may_begin: Callable[[], bool],
        starts: Starts,
        threads: Threads,
        progress: ProgressBook,
        retention_s: float | None,
        bytes_max: int,
        grace_s: float,
        events: Events,
        world: World,
        tracing: Tracing | None = None,
        scribe: Scribe | None = None,
    ) -> None:
        self.world = world
        self.scribe = scribe
        self._tracing = tracing
        self.instances = instances
        self.signals = signals
        self.journal = journal
        self.residents = residents
        self.cancel_tree = cancel_tree
        self.may_begin = may_begin
        self.starts = starts
        self.threads = threads
        self.progress = progress
        self.eager = Eager()
        self.running: dict[str, Run] = {}
        self.suspect: str | None = None  # the one instance, claimed here, that processes have died over; see Lane.
        self.is_suspect_over = False  # its code has ended; what came of it may not be durable yet.
        self.asks_for_suspects = False  # a lane is claiming, and may get one.
        self._catalogue = catalogue
        self.sink = sink
        self.stopping = False  # nothing new begins: the engine shuts down.
        self._retention_s = retention_s
        self.bytes_max = bytes_max
        self._grace_s = grace_s
        self._events = events
        # Steps begin in the context in which the engine was opened: never in that of the step before them.
        self._context = contextvars.copy_context()

    def start(self, claim: Claim, slot: Slot) -> bool:
        """Runs a claim in a task of its own. False: this process does not know the program after all."""
        program = self._catalogue.find(claim.program, claim.version)
        if program is None or claim.id in self.running:
            self.sink.release([(claim.id, claim.epoch)], slot.name)
            return False
        run = Run(self, claim, program, slot)
        self.running[claim.id] = run
        if self.scribe is not None:
            self.scribe.begin(run)
        run.task = asyncio.get_running_loop().create_task(self._run(run), context=self._context.copy())
        return True

    async def _run(self, run: Run) -> None:
        run.begun = True
        CURRENT.set(run)
        while True:
            if self._events.wanted:
                outcome = await self._told_step(run)
            elif self._tracing is None:
                outcome = await self._step(run)
            else:
                outcome = await self._traced_step(run, self._tracing)
            if isinstance(outcome, Moved) and self._goes_on(run, outcome):
                if await self._advance(run, outcome):
                    continue
            elif outcome is not None:
                self.sink.put(self._settlement(run, outcome), run.queue, run.claim.program)
            break
        if self.running.get(run.claim.id) is run:
            del self.running[run.claim.id]
        run.task = None  # its context knows the run: a circle, which only the collector would find.
        run.slot.freed(run)

    async def _told_step(self, run: Run) -> Outcome | None:
        began = self.world.monotonic()
        self._events.emit("step.start", **run.facts())
        tracing = self._tracing
        outcome = await (self._step(run) if tracing is None else self._traced_step(run, tracing))
        kind = None if outcome is None else outcome.kind
        self._events.emit("step.stop", **run.facts(), kind=kind, duration_s=self.world.monotonic() - began)
        return outcome

    async def _traced_step(self, run: Run, tracing: Tracing) -> Outcome | None:
        with tracing.step(run.claim, run.queue) as ended:
            outcome = await self._step(run)
            ended(None if outcome is None else outcome.kind, getattr(outcome, "error", None))
            return outcome

    async def _step(self, run: Run) -> Outcome | None:
        """One step's outcome; None: nothing is to be written."""
        try:
            if run.why is None and not self.may_begin():
                run.why, run.late = Why.FENCED, True
            if run.why is not None:
                raise asyncio.CancelledError
            if run.program.timeout_s is None:
                outcome = await run.program.run(run)
            else:
                outcome = await self._run_timed(run, run.program.timeout_s)
            self._refuse_large(run, outcome)
            if isinstance(outcome, Moved) and outcome.rate_limit is not None:
                await self.starts.rates.ensure(outcome.rate_limit, outcome.rate_weight)
            return outcome
        except BaseException as error:  # SystemExit and KeyboardInterrupt of user code are its failures, not ours.
            if isinstance(error, GeneratorExit) and not _runs_now(run.task):
                raise  # nobody raised it: this coroutine is being thrown away, with its loop.
            return await self._outcome_of(run, error)

    def _settlement(self, run: Run, outcome: Outcome, *, ahead: bool = False) -> Settlement:
        program, claim = run.program, run.claim
        timeout_s = program.timeout_s if ahead else None
        made = settle(
            claim,
            outcome,
            retention_s=program.retention_s(self._retention_s),
            version=program.version if program.version != claim.version else None,
            ahead=ahead,
            deadline_s=None if timeout_s is None else timeout_s + self._grace_s,
        )
        if run.paused and made.status == READY:  # the store would say so itself, but then nobody tells the timekeeper.
            made.status = SCHEDULED
        return made

    def _goes_on(self, run: Run, outcome: Moved) -> bool:
        """Whether the next step may begin in this very task, once this one is durable."""
        run.steps += 1
        goes_on = may_run_ahead(outcome) and run.why is None and not run.paused and run.slot.may_go_on(run)
        if self._events.wanted:
            self._tell_of_next(run, outcome, goes_on)
        return goes_on

    def _tell_of_next(self, run: Run, outcome: Moved, goes_on: bool) -> None:
        facts = {"id": run.claim.id, "program": run.claim.program, "step": outcome.step, "steps": run.steps}
        if goes_on:
            self._events.emit("run_ahead.continued", **facts)
            return
        limited = outcome.rate_limit is not None or outcome.concurrency_key is not None
        reason = "off" if not outcome.inline else "limited" if limited else "stopped" if run.why else "turn"
        if run.paused and reason == "turn":
            reason = "paused"
        self._events.emit("run_ahead.yielded", **facts, reason=reason)

    def tell(self, claim: Claim, event: str, fields: dict[str, Any]) -> None:
        """Reports something of an instance that runs."""
        self._events.emit(event, id=claim.id, program=claim.program, version=claim.version, **fields)

    async def _advance(self, run: Run, outcome: Moved) -> bool:
        """Makes the step durable and keeps the claim. False: the run ends here."""
        claim = run.claim
        try:
            ours = await self.sink.durable(self._settlement(run, outcome, ahead=True), run.queue, claim.program)
        except asyncio.CancelledError:
            ours = True  # it is on its way to the database, or there; what follows it gives the claim back.
        if (run.why is not None and run.why is not Why.LOST) or (ours and run.paused and run.why is None):
            self._give_back(run)
        if not ours or run.paused or run.why is not None:
            return False
        claim.step, claim.state, claim.version = outcome.step, outcome.state, run.program.version
        claim.attempt, claim.commits, claim.kept = 0, claim.commits + 1, True
        claim.awaits = claim.rate_limit = None
        if outcome.consumed:
            claim.letters = [letter for letter in claim.letters if letter.id not in outcome.consumed]
        return True

    async def record(self, run: Run, outcome: Recorded) -> None:
        """Makes durable what a run has recorded; it keeps its claim. Raises: CancelledError: it has lost it."""
        claim = run.claim
        if run.why is not None:
            raise asyncio.CancelledError
        if not await self.sink.durable(recorded(claim, outcome), run.queue, claim.program):
            run.why = run.why or Why.LOST
            raise asyncio.CancelledError
        claim.commits, claim.kept = claim.commits + 1, True
        if outcome.consumed:
            claim.letters = [letter for letter in claim.letters if letter.id not in outcome.consumed]

    async def _run_timed(self, run: Run, timeout_s: float) -> Outcome:
        run.deadline_us = self.world.wall_us() + int(timeout_s * 1_000_000)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                outcome = await run.program.run(run)
            if not limit.expired():
                return outcome
            cause = None  # it swallowed its cancellation and answered all the same: too late.
        except TimeoutError as error:
            if not limit.expired():
                raise
            cause = error
        raise StepTimeout(f"the step ran longer than its timeout of {timeout_s:g} s") from cause

    def _refuse_large(self, run: Run, outcome: Outcome) -> None:
        for what in ("result", "state"):
            text = getattr(outcome, what, None)
            if text is not None and len(text) > self.bytes_max // 4:  # a character takes four bytes at most.
                size = len(text.encode())
                if size > self.bytes_max:
                    raise ValueTooLarge(f"the {what} of {run.program.name!r}", size, self.bytes_max)

    async def _outcome_of(self, run: Run, error: BaseException) -> Outcome | None:
        """What an exception means: the user's, unless we stopped the run; then it is what came of that."""
        if run.why is None:
            return await self._failed(run, error)
        if run.why is not Why.LOST:
            self._give_back(run)
        return None

    def _give_back(self, run: Run) -> None:
        claim = run.claim
        if run.late:
            self._events.emit("claim.withheld", id=claim.id, program=claim.program, epoch=claim.epoch)
        queue = "*" if run.why is Why.FENCED else run.queue  # this process may be well by then, and take it itself.
        self.sink.release([(claim.id, claim.epoch)], queue)

    async def _failed(self, run: Run, error: BaseException) -> Outcome:
        try:
            outcome = await run.program.failed(run, error)
            self._refuse_large(run, outcome)
        except Exception as second:
            outcome = Failed(failure_text(second))
        if self._events.wanted or not isinstance(outcome, Again):
            self._events.emit("step.failed", **run.facts(), error=brief(error))
        return outcome

    def stop(self, why: Why, *, only: set[str] | None = None) -> list[Run]:
        """Cancels runs, all or those named. Returns them. A thread cannot be cancelled; its answer is dropped."""
        stopped: list[Run] = []
        for run in list(self.running.values()):
            if only is not None and run.claim.id not in only:
                continue
            if why is Why.FENCED and run.threaded:
                continue  # it would run on, and a second time beside itself; the epoch decides at its commit.
            if run.task is not None and run.why is None:
                run.why = why
                if run.begun:  # a task cancelled before its first turn never has one, and its slot would stay taken.
                    run.task.cancel()
                stopped.append(run)
        return stopped

    def pause(self, ids: set[str]) -> None:
        """Lets these begin nothing more: they are paused. What they are at may end, and is recorded."""
        for id in ids & self.running.keys():
            self.running[id].paused = True

    def forget(self, runs: list[Run]) -> None:
        """Gives up on stopped runs that do not unwind: their claims go back, and their late outcomes are refused."""
        for run in runs:
            if self.running.get(run.claim.id) is run:
                del self.running[run.claim.id]
                self._give_back(run)
                self._events.emit("step.abandoned", id=run.claim.id, program=run.claim.program)

    async def idle(self, timeout_s: float) -> bool:
        """Waits until nothing runs, at most `timeout_s` seconds. Whether that came."""
        tasks = [run.task for run in self.running.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        return not self.running


def _runs_now(task: asyncio.Task[None] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs any more.
        return False
