"""Runs programs: one task per claimed instance, its deadline, and what becomes of it when it is stopped."""

from __future__ import annotations

import asyncio
import contextvars

from outlast._kernel.failures import brief, failure_text
from outlast._kernel.outcomes import Again, Failed, Moved, Outcome
from outlast._kernel.program import Catalogue
from outlast._kernel.settle import may_run_ahead, settle
from outlast._kernel.states import READY, SCHEDULED
from outlast._model import Claim, Settlement
from outlast._runtime.run import CURRENT, Kit, Run, Slot, Why
from outlast._runtime.tracing import Tracing
from outlast.errors import StepTimeout, ValueTooLarge


class Executor:
    """Starts runs and hands their outcomes on.

    Attributes:
        kit: What runs work with.
        running: Those that run, by the id of their instance.
    """

    def __init__(
        self,
        kit: Kit,
        catalogue: Catalogue,
        *,
        retention_s: float | None,
        grace_s: float,
        tracing: Tracing | None = None,
    ) -> None:
        self.kit = kit
        self.running: dict[str, Run] = {}
        self._catalogue = catalogue
        self._retention_s = retention_s
        self._grace_s = grace_s
        self._tracing = tracing
        self._events = kit.events
        self._world = kit.world
        # Steps begin in the context in which the engine was opened: never in that of the step before them.
        self._context = contextvars.copy_context()

    def start(self, claim: Claim, slot: Slot) -> bool:
        """Runs a claim in a task of its own. False: this process does not know the program after all."""
        program = self._catalogue.find(claim.program, claim.version)
        if program is None or claim.id in self.running:
            self.kit.sink.release([(claim.id, claim.epoch)], slot.name)
            return False
        run = Run(self.kit, claim, program, slot)
        self.running[claim.id] = run
        if self.kit.scribe is not None:
            self.kit.scribe.begin(run)
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
                self.kit.sink.put(self._settlement(run, outcome), run.queue, run.claim.program)
            break
        if self.running.get(run.claim.id) is run:
            del self.running[run.claim.id]
        run.task = None  # its context knows the run: a circle, which only the collector would find.
        run.slot.freed(run)

    async def _told_step(self, run: Run) -> Outcome | None:
        began = self._world.monotonic()
        self._events.emit("step.start", **run.facts())
        tracing = self._tracing
        outcome = await (self._step(run) if tracing is None else self._traced_step(run, tracing))
        kind = None if outcome is None else outcome.kind
        self._events.emit("step.stop", **run.facts(), kind=kind, duration_s=self._world.monotonic() - began)
        return outcome

    async def _traced_step(self, run: Run, tracing: Tracing) -> Outcome | None:
        with tracing.step(run.claim, run.queue) as ended:
            outcome = await self._step(run)
            ended(None if outcome is None else outcome.kind, getattr(outcome, "error", None))
            return outcome

    async def _step(self, run: Run) -> Outcome | None:
        """One step's outcome; None: nothing is to be written."""
        try:
            if run.why is None and not self.kit.may_begin():
                run.why, run.late = Why.FENCED, True
            if run.why is not None:
                raise asyncio.CancelledError
            if run.program.timeout_s is None:
                outcome = await run.program.run(run)
            else:
                outcome = await self._run_timed(run, run.program.timeout_s)
            self._refuse_large(run, outcome)
            if isinstance(outcome, Moved) and outcome.rate_limit is not None:
                await self.kit.starts.rates.ensure(outcome.rate_limit, outcome.rate_weight)
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

    async def _advance(self, run: Run, outcome: Moved) -> bool:
        """Makes the step durable and keeps the claim. False: the run ends here."""
        claim = run.claim
        try:
            ours = await self.kit.sink.durable(self._settlement(run, outcome, ahead=True), run.queue, claim.program)
        except asyncio.CancelledError:
            ours = True  # it is on its way to the database, or there; what follows it gives the claim back.
        if (run.why is not None and run.why is not Why.LOST) or (ours and run.paused and run.why is None):
            self._give_back(run)
        if not ours or run.paused or run.why is not None:
            return False
        claim.step, claim.state, claim.version = outcome.step, outcome.state, run.program.version
        claim.attempt, claim.commits = 0, claim.commits + 1
        claim.awaits = claim.rate_limit = None
        run.forget(outcome.consumed)
        return True

    async def _run_timed(self, run: Run, timeout_s: float) -> Outcome:
        run.deadline_us = self._world.wall_us() + int(timeout_s * 1_000_000)
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
        bytes_max = self.kit.bytes_max
        for what in ("result", "state"):
            text = getattr(outcome, what, None)
            if text is not None and len(text) > bytes_max // 4:  # a character takes four bytes at most.
                size = len(text.encode())
                if size > bytes_max:
                    raise ValueTooLarge(f"the {what} of {run.program.name!r}", size, bytes_max)

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
        self.kit.sink.release([(claim.id, claim.epoch)], queue)

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
