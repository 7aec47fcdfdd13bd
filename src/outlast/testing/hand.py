"""An engine that is run by hand: one step at a time, when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from outlast._kernel.limits import RATE, limit_name
from outlast._kernel.program import ERRAND, WORKFLOW
from outlast._kernel.states import BLOCKED, READY, SCHEDULED, WAITING
from outlast._model import Claim, Filter, Row, Settlement
from outlast._runtime.crew import Crew
from outlast._runtime.lane import hand_letters, hand_notes
from outlast._runtime.run import Run, Sink
from outlast._store.contract import CRASHES_ANY, Store
from outlast._world import host_name, process_id
from outlast.engine import Engine, Runnable
from outlast.engine.messages import Target
from outlast.errors import ConfigError, EngineStateError
from outlast.testing.clock import Clock
from outlast.testing.faults import Fault
from outlast.testing.tally import Tally, TooManySteps
from outlast.workflows.errands import read_errand

_LEASE_S: Final = 3600.0
"""Nobody renews while a test thinks; nobody else is to take over meanwhile."""
_PAGE: Final = 1_000
_TRIES: Final = 3


class _Place:
    """The slot of the one step that runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = asyncio.Event()

    def freed(self, run: Run) -> None:
        self.over.set()

    def may_go_on(self, run: Run) -> bool:
        return False


class _Checkpoint:
    """Stands before the committer, and keeps back what a fault strikes."""

    def __init__(self, committer: Sink, faults: list[Fault]) -> None:
        self._committer = committer
        self._faults = faults
        self.fault: Fault | None = None
        self.withholds = False
        self.withheld: Settlement | None = None

    def strike(self, program: str, *steps: str) -> None:
        """Lets a fault strike one of these steps."""
        for step in steps:
            self.fault = self.fault or next((each for each in self._faults if each.strikes(program, step)), None)
        self.withholds = self.fault is not None and self.fault.kind != "crash_after_commit"

    def put(self, settlement: Settlement, queue: str, program: str) -> None:
        if self.withholds:
            self.withheld = settlement
        else:
            self._committer.put(settlement, queue, program)

    async def durable(self, settlement: Settlement, queue: str, program: str) -> bool:
        """A workflow records steps. A process that dies here does not go on."""
        steps = [entry for entry in settlement.entries or () if entry.kind == "step" and entry.status != "waiting"]
        self.strike(program, *(_step_of(entry.key) for entry in steps))
        if self.withholds:
            self.withheld = settlement
            return False
        return await self._committer.durable(settlement, queue, program) and self.fault is None

    def release(self, claims: list[tuple[str, int]], queue: str) -> None:
        self._committer.release(claims, queue)


def _step_of(key: str) -> str:
    """The name of a workflow's step."""
    return key.rpartition("/")[2].rpartition("#")[0]


class Hand:
    """Runs an engine's steps, as a node of its own.

    Attributes:
        clock: The engine's clock.
        faults: What is to go wrong now.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.clock = clock
        self.faults: list[Fault] = []
        self._engine = engine
        self._node = ""
        self._fair: dict[str, str | None] = {}
        self._late: dict[str, Settlement] = {}
        self._draining = False

    @property
    def crew(self) -> Crew:
        """The engine's crew. Raises: EngineStateError: it is closed."""
        return self._engine._running()

    @property
    def store(self) -> Store:
        """The engine's store."""
        return self._engine._store

    def host(self) -> None:
        """Keeps objects in this process, as a worker would; their alarms ring when somebody rings them."""
        self.crew.host_objects(lambda: self._node)

    async def register(self) -> None:
        """Becomes a node; a new one each time."""
        self._node = self._engine._world.new_node_id()
        await self.store.leases.register(self._node, host_name(), process_id(), _LEASE_S)
        await self.crew.declare(self._node)

    async def retire(self) -> None:
        """Is no node any more."""
        await self.crew.keeper.drain(self._engine.config.drain_timeout)
        await self.store.leases.retire(self._node)

    async def drain(self, queue: str | None, with_scheduled: bool, steps_max: int) -> Tally:
        """See `drain`."""
        if self._draining:
            raise EngineStateError("this engine is being drained already")
        self._draining = True
        tally = Tally()
        try:
            with self._counting(tally):
                while await self._go_on(tally, queue, with_scheduled, steps_max) or await self.serve_calls():
                    pass
        finally:
            self._draining = False
        return tally

    @contextmanager
    def _counting(self, tally: Tally) -> Iterator[None]:
        def heard(name: str, fields: dict[str, Any]) -> None:
            tally.add(fields["kind"])

        stop = self._engine.events.on("step.stop", heard)
        try:
            yield
        finally:
            stop()

    async def _go_on(self, tally: Tally, queue: str | None, with_scheduled: bool, steps_max: int) -> bool:
        """Runs one step, or moves what may be run. False: there is nothing to do."""
        if tally.steps >= steps_max:
            await self._refuse_more(queue, with_scheduled, steps_max)
            return False
        return (
            await self._run_one(tally, queue)
            or await self._look_at_the_clock()
            or (with_scheduled and (await self._wait_for_tokens(queue) or await self._hurry_first(queue)))
        )

    async def serve_calls(self) -> bool:
        """Lets objects serve the calls that wait for them in the store. Whether there were some that could be."""
        crew, tries = self.crew, 0
        last: set[str] = set()
        served = False
        while tries < _TRIES:  # one whose object cannot be loaded stays.
            waiting = {
                each.call for each in await self.store.calls.waiting(self._node, self._engine._types.names(), _PAGE)
            }
            served = served or bool(last - waiting)
            tries = tries + 1 if waiting == last else 0
            last = waiting
            if not waiting:
                break
            await crew.keeper.inbox.beat()
            await crew.keeper.settled()
        return served

    async def _refuse_more(self, queue: str | None, with_scheduled: bool, steps_max: int) -> None:
        statuses = (READY, SCHEDULED) if with_scheduled else (READY,)
        known = set(self.crew.known_programs())
        left = [row async for row in self.rows(statuses, queue) if f"{row.program}@{row.version}" in known]
        if left:
            shown = ", ".join(sorted({f"{row.program} at step {row.step!r}" for row in left})[:5])
            raise TooManySteps(
                f"drain ran {steps_max:,} steps and {len(left):,} instances are still to run ({shown}). "
                "Is there a loop? Otherwise raise max_steps."
            )

    async def _run_one(self, tally: Tally, queue: str | None) -> bool:
        queues = (
            [queue] if queue is not None else [each.name for each in await self.store.queues.counts() if each.ready]
        )
        for name in queues:
            taken = await self.store.claims.take(
                name, self._node, self.crew.known_programs(), 1, _LEASE_S, CRASHES_ANY, self._fair.get(name)
            )
            self._fair[name] = taken.fair_after
            if taken:
                await hand_letters(self.store.signals, taken)
                await hand_notes(self.store.journal, taken, self.crew.residents)
                await self._run(tally, taken[0], name)
                return True
        return False

    async def _run(self, tally: Tally, claim: Claim, queue: str) -> None:
        crew = self.crew
        checkpoint = _Checkpoint(crew.committer, self.faults)
        if claim.step == ERRAND:  # the step of a workflow, wherever it runs.
            told = read_errand(claim.state)
            checkpoint.strike(told["program"], _step_of(told["key"]))
        elif claim.step != WORKFLOW:
            checkpoint.strike(claim.program, claim.step)
        place = _Place(queue)
        crew.executor.kit.sink = checkpoint
        try:
            if not crew.executor.start(claim, place):
                return
            await place.over.wait()
            await crew.committer.settled()
        finally:
            crew.executor.kit.sink = crew.committer
        if (fault := checkpoint.fault) is not None:
            tally.crashes += 1
            await self._die()
            if fault.kind == "run_step_twice" and checkpoint.withheld is not None:
                self._late[claim.id] = checkpoint.withheld
        elif (late := self._late.pop(claim.id, None)) is not None:
            await self._wake_up(late)

    async def _die(self) -> None:
        """This node is dead: another takes over what it held, and nothing stays in memory."""
        self.crew.residents.drop_all()
        await self.store.leases.retire(self._node)
        self.crew.keeper.bury()
        await self.store.leases.reclaim(_PAGE, self._engine.config.max_crashes, overdue=False)
        await self.register()

    async def _wake_up(self, late: Settlement) -> None:
        """A process that had frozen tries to commit what it has."""
        committed = await self.store.claims.commit([late])
        if late.id not in committed.stale:
            raise AssertionError(f"instance {late.id} took an outcome from a process that had lost it: a bug of ours")

    async def _look_at_the_clock(self) -> bool:
        """Promotes what is due by the clock: schedules, deadlines of waits, rate limits."""
        fired = await self.fire_schedules()
        due = await self.store.timers.promote(_PAGE)
        return bool(fired or due.promoted or due.queues)

    async def fire_schedules(self) -> int:
        """See `fire_schedules`."""
        fired = 0

        def heard(name: str, fields: dict[str, Any]) -> None:
            nonlocal fired
            fired += 1

        stop = self._engine.events.on("schedule.fired", heard)
        scheduler = self.crew.make_scheduler()
        try:
            while await scheduler.look((await self.store.schedules.glance()).now, watch=True):
                pass
        finally:
            stop()
        return fired

    async def _wait_for_tokens(self, queue: str | None) -> bool:
        """Goes ahead to when the first instance that a rate limit holds back may have its tokens."""
        limits = {limit.name: limit for limit in await self.store.limits.rates()}
        waits: list[tuple[float, str]] = [
            (row.rate_weight * limit.period_s / limit.allowed, row.blocked_on)
            async for row in self.rows((BLOCKED,), queue)
            if row.rate_limit is not None
            and row.blocked_on == RATE + row.rate_limit
            and (limit := limits.get(limit_name(row.rate_limit))) is not None
        ]
        if not waits:
            return False
        self.clock.jump(min(waits)[0])
        await self._look_at_the_clock()
        await self.store.limits.open({gate for _, gate in waits})  # nobody sweeps: one may have been declared since.
        return True

    async def _hurry_first(self, queue: str | None) -> bool:
        """Makes the instance due now that is due next."""
        rows = [(row.due_at, row.id) async for row in self.rows((SCHEDULED,), queue)]
        if not rows:
            return False
        await self.store.timers.hurry([min(rows)[1]])
        return await self._look_at_the_clock()

    async def fire_timeouts(self, id: str | None) -> int:
        """See `fire_timeouts`."""
        waiting = [row.id async for row in self.rows((WAITING,)) if row.wake_at is not None and id in (None, row.id)]
        if waiting:
            await self.store.timers.hurry(waiting)
            while (await self.store.timers.promote(_PAGE)).timed_out >= _PAGE:
                pass
        return len(waiting)

    async def rows(self, status: Iterable[str], queue: str | None = None) -> AsyncIterator[Row]:
        """All instances in one of these statuses."""
        before: str | None = None
        while page := await self.store.instances.list(
            Filter(status=tuple(status), queue=queue, before=before, limit=_PAGE)
        ):
            for row in page:
                yield row
            before = page[-1].id


_HANDS: WeakKeyDictionary[Engine, Hand] = WeakKeyDictionary()


def hand_of(engine: Engine) -> Hand:
    """Who runs it. Raises: EngineStateError: nobody does."""
    hand = _HANDS.get(engine)
    if hand is None:
        raise EngineStateError(
            "this engine is not run by hand: open it with `async with by_hand(engine):`, "
            "or use the fixture outlast_engine"
        )
    return hand


@asynccontextmanager
async def by_hand(
    engine: Engine | None = None,
    *,
    url: str | None = None,
    programs: Iterable[Runnable] | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncIterator[Engine]:
    """Opens an engine that runs nothing by itself: steps run in `drain`, one at a time.

        async with by_hand(app.engine, url="sqlite://") as engine: ...

    Objects live here, too: a call is answered at once, since its caller waits for it. One-way calls are served in the
    background, and all of them at the end of a `drain`; alarms ring in `fire_alarm` and `drain_alarms` alone.

    Args:
        engine: Your application's engine, closed; for as long as the block lasts it works on the test's database.
            None: a new one.
        url: The test's database, SQLite in memory by default: never the one that your settings name. Its tables are
            made when they are missing.
        programs: Of a new engine; every one defined at module level by default.
        clock: The time it takes for now; a new `Clock` by default, which `clock_of(engine)` gives.
        options: More settings, as for `Engine`. No code of waiting workflows stays in memory unless you give
            `residents_max`: what does not survive a run from the beginning should be found.

    Raises: ConfigError, StoreError. EngineStateError: your engine is open.
    """
    url = url or "sqlite://"
    if engine is None:
        engine = Engine(url, programs=programs, **options)
    elif programs is not None:
        raise ConfigError("programs is for a new engine; yours knows what it can run")
    options = {"residents_max": 0} | options
    config = replace(engine.config, **options, url=url, queues={}, maintenance=False, doorbell="local")
    clock = clock or Clock()
    former = engine._inhabit(config, clock.world)
    try:
        clock.rule(engine)
        await engine.migrate()
        async with engine:
            hand = _HANDS[engine] = Hand(engine, clock)
            await hand.register()
            hand.host()
            await engine._declare_schedules()
            try:
                yield engine
            finally:
                del _HANDS[engine]
                await hand.retire()
    finally:
        engine._inhabit(*former)


def clock_of(engine: Engine) -> Clock:
    """The clock of an engine that is run by hand. Raises: EngineStateError: it is not."""
    return hand_of(engine).clock


async def drain(
    engine: Engine, *, queue: str | None = None, with_scheduled: bool = True, max_steps: int = 1_000
) -> Tally:
    """Runs everything that can run, one step at a time in the order in which workers would pick, until nothing is left.

    Steps run in the caller's loop through the engine's own executor and commits. A machine's steps do not run ahead:
    each is claimed anew. What waits for a signal or for children that do not end goes on waiting; see `fire_timeouts`.

    Args:
        engine: One that is run `by_hand`.
        queue: Only this queue; all by default.
        with_scheduled: Whether what is due later (schedules, retries with backoff) runs now, the earliest first. The
            clock stays where it is, but for a rate limit: it goes ahead until there are tokens.
        max_steps: More is an error: code that never comes to an end is found here.

    Returns: What it did.

    Raises: TooManySteps: there is more to run. EngineStateError: the engine is not run by hand.
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise ConfigError(f"max_steps must be a whole number from 1, not {max_steps!r}")
    return await hand_of(engine).drain(queue, with_scheduled, max_steps)


async def fire_timeouts(engine: Engine, target: Target | None = None) -> int:
    """Ends the wait of every instance that waits with a deadline, as if it had come; the next `drain` runs them.

    Args:
        engine: One that is run `by_hand`.
        target: Only this instance.

    Returns: How many that were.

    Raises: NotFound, EngineStateError.
    """
    hand = hand_of(engine)
    return await hand.fire_timeouts(None if target is None else await engine._id_of(target))


async def fire_schedules(engine: Engine) -> int:
    """Fires what schedules have due by the engine's clock; the next `drain` runs it. A drain does so by itself, too.

    Runs that have ended since are counted, and a schedule whose runs keep failing is switched off.

    Returns: How many runs that made.
    """
    return await hand_of(engine).fire_schedules()


async def prune(engine: Engine) -> int:
    """Deletes what is past its retention by the engine's clock. Returns how many instances that were."""
    hand = hand_of(engine)
    deleted = 0
    while found := await hand.store.upkeep.prune(_PAGE):
        deleted += found
    return deleted
