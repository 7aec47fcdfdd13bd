"""The executor: runs beside each other, stopped for a reason, and forgotten when they do not listen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outlast._kernel.outcomes import Again, Finished, Outcome
from outlast._kernel.program import Activation, Catalogue
from outlast._runtime.committer import Committer
from outlast._runtime.events import Events
from outlast._runtime.executor import Executor
from outlast._runtime.progress import ProgressBook
from outlast._runtime.rates import Rates
from outlast._runtime.residents import Residents
from outlast._runtime.run import Kit, Why
from outlast._runtime.starts import Starts
from outlast._runtime.threads import Threads
from outlast._runtime.waiters import Waiters
from outlast._world import SystemWorld
from outlast.config import Config
from tests.runtime.stage import Heard, Rings, soon
from tests.store.given import Given


class Slot:
    """A place in a lane."""

    name = "default"

    def __init__(self) -> None:
        self.freed_ids: list[str] = []

    def may_go_on(self, run: Any) -> bool:
        return True

    def freed(self, run: Any) -> None:
        self.freed_ids.append(run.claim.id)


class Greet:
    """The program of the rows: waits until it is let go, unless told otherwise."""

    name, version, queue = "greet", 1, "default"

    def __init__(self) -> None:
        self.timeout_s: float | None = None
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = 0
        self.deaf = False
        self.bad_failed = False

    async def run(self, activation: Activation) -> Outcome:
        self.begun.set()
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self.deaf:
                    raise
        return Finished('"hello"')

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        if self.bad_failed:
            raise ZeroDivisionError("a bug in a program")
        return Again(60.0, "{}")

    def retention_s(self, default_s: float | None) -> float | None:
        return default_s


class Stage:
    """An executor on a real store."""

    def __init__(self, given: Given, rings: Rings, events: Events) -> None:
        world = SystemWorld()
        self.is_owner = True
        self.program = Greet()
        self.slot = Slot()
        self.threads = Threads(2, events, may_begin=lambda: True)
        self.committer = Committer(
            given.store.claims,
            given.store.limits,
            batch_max=10,
            waiters=Waiters(given.store.instances),
            doorbell=rings,
            events=events,
            world=world,
        )
        kit = Kit(
            self.committer,
            instances=given.store.instances,
            signals=given.store.signals,
            journal=given.store.journal,
            residents=Residents(0, 0.0, events=events, world=world),
            cancel_tree=lambda id, reason: given.store.instances.cancel(id, reason, None, tree=True),
            may_begin=lambda: self.is_owner,
            starts=Starts(Catalogue(), Rates(Config(), given.store.limits), bytes_max=1_024, world=world),
            threads=self.threads,
            progress=ProgressBook(given.store.claims),
            bytes_max=1_024,
            events=events,
            world=world,
        )
        self.executor = Executor(kit, Catalogue([self.program]), retention_s=60.0, grace_s=5.0)

    async def over(self) -> None:
        """All runs have unwound, and what came of them is durable."""
        assert await self.executor.idle(8.0)
        await soon(self.committer.settled())


@pytest.fixture
async def stage(given: Given, rings: Rings, events: Events) -> AsyncIterator[Stage]:
    stage = Stage(given, rings, events)
    yield stage
    stage.program.gate.set()
    await stage.over()
    await stage.threads.close()


async def test_an_outcome_is_written_and_its_slot_is_free(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    stage.program.gate.set()

    assert stage.executor.start(claim, stage.slot)
    await stage.over()

    assert await given.status(claim.id) == "done"
    assert stage.slot.freed_ids == [claim.id]
    assert stage.executor.running == {}


async def test_what_it_does_not_know_goes_back(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    claim.program = "stranger"

    assert not stage.executor.start(claim, stage.slot)
    await stage.over()

    assert await given.status(claim.id) == "ready"


async def test_what_still_runs_here_is_not_run_beside_itself(given: Given, stage: Stage) -> None:
    first = await given.claim()
    stage.executor.start(first, stage.slot)
    await given.store.claims.release([(first.id, first.epoch)])
    (again,) = await given.taken()

    assert not stage.executor.start(again, stage.slot)
    await soon(stage.committer.settled())

    assert await given.status(first.id) == "ready"
    assert list(stage.executor.running) == [first.id]


@pytest.mark.parametrize(
    ("why", "status"), [(Why.DRAIN, "ready"), (Why.FENCED, "ready"), (Why.LOST, "running")], ids=str
)
async def test_a_stopped_run_is_given_back_unless_it_is_lost(given: Given, stage: Stage, why: Why, status: str) -> None:
    claim, other = await given.claimed(2)
    stage.executor.start(claim, stage.slot)
    await soon(stage.program.begun.wait())

    stopped = stage.executor.stop(why, only={claim.id, "unknown"})
    await stage.over()

    assert [run.claim.id for run in stopped] == [claim.id]
    row = await given.read(claim.id)
    assert (row.status, row.attempt, row.error) == (status, 0, None)
    assert stage.slot.freed_ids == [claim.id]
    assert await given.status(other.id) == "running"


async def test_what_others_may_have_taken_over_is_not_begun(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    stage.executor.start(claim, stage.slot)
    stage.is_owner = False  # before the task has had its first turn.
    await stage.over()

    assert not stage.program.begun.is_set()
    row = await given.read(claim.id)
    assert (row.status, row.attempt, row.error) == ("ready", 0, None)
    assert stage.slot.freed_ids == [claim.id]


async def test_a_second_stop_does_not_change_the_reason(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    stage.program.deaf = True
    stage.executor.start(claim, stage.slot)
    await soon(stage.program.begun.wait())

    assert len(stage.executor.stop(Why.LOST)) == 1
    assert stage.executor.stop(Why.DRAIN) == []


async def test_a_run_that_does_not_listen_is_forgotten_and_its_answer_dropped(
    given: Given, stage: Stage, heard: Heard
) -> None:
    claim = await given.claim()
    stage.program.deaf = True
    stage.executor.start(claim, stage.slot)
    await soon(stage.program.begun.wait())
    stopped = stage.executor.stop(Why.DRAIN)
    assert not await stage.executor.idle(0.02)

    stage.executor.forget(stopped)
    await soon(stage.committer.settled())
    assert await given.status(claim.id) == "ready"
    stage.program.gate.set()
    await asyncio.wait([run.task for run in stopped if run.task is not None], timeout=8)
    await soon(stage.committer.settled())

    assert (await given.read(claim.id)).result is None
    assert [said["id"] for said in heard.of("step.abandoned")] == [claim.id]
    assert [said["id"] for said in heard.of("claim.stale")] == [claim.id]


async def test_a_run_that_ends_while_it_is_stopped_is_kept(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    stage.program.deaf = True
    stage.executor.start(claim, stage.slot)
    await soon(stage.program.begun.wait())
    stage.executor.stop(Why.DRAIN)

    stage.program.gate.set()
    await stage.over()

    assert await given.status(claim.id) == "done"


async def test_a_program_that_breaks_while_it_judges_a_failure_fails_its_instance(given: Given, stage: Stage) -> None:
    claim = await given.claim()
    stage.program.bad_failed = True
    stage.program.timeout_s = 0.01
    stage.executor.start(claim, stage.slot)

    await stage.over()

    row = await given.read(claim.id)
    assert row.status == "failed"
    assert row.error is not None
    assert "a bug in a program" in row.error


async def test_idle_is_at_once_when_nothing_runs(stage: Stage) -> None:
    assert await stage.executor.idle(0.0)
