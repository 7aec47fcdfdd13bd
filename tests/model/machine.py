"""The engine and the model, side by side: each rule is done to both, and then they must tell the same."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from outlast import Engine
from outlast.errors import DuplicateKey, OutlastError
from outlast.testing import (
    TooManySteps,
    by_hand,
    clock_of,
    crash_after_commit,
    crash_before_commit,
    drain,
    drain_alarms,
    fire_schedules,
    prune,
)
from tests.model import programs
from tests.model.plans import ANSWERS, GATES, KEYS, NAMES, QUEUES, TAGS, WHATS
from tests.model.reference import PROGRAMS, RETENTION_S, Model, Refused, Row

BEGINNING = datetime(2100, 1, 1, 0, 30, 30, tzinfo=UTC)
"""Far from every full hour: what a run takes of real time changes nothing. All times are whole minutes apart."""
SLACK_S = 29.0
LIVE_MAX = 8
ROWS_MAX = 30
_EACH_HOUR = "0 * * * *"
_place = st.integers(0, 40)
_then = st.sampled_from([0, 1, 1, 2, 4])
"""Steps that run after a rule: whatever rules an example is made of, something runs."""
_seldom = st.sampled_from([False, False, True])


class Twins(RuleBasedStateMachine):
    """An engine that is run by hand, and its model."""

    url = "sqlite://"
    met: ClassVar[Tally[str]]
    """What has come up so far: outcomes, statuses, answers, refusals."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.counts: dict[str, int] = {}
        self.alarms: dict[tuple[str, str], float] = {}
        self.hours = 0
        self.touched: set[str] = set()
        logging.getLogger("outlast").setLevel(logging.CRITICAL)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.engine: Engine = self._run(self._open())

    def _run(self, awaitable: Any) -> Any:
        return self._runner.run(awaitable)

    async def _open(self) -> Engine:
        engine = await self._stack.enter_async_context(
            by_hand(url=self.url, programs=programs.ALL, retention=RETENTION_S, max_crashes=3, telemetry="off")
        )
        clock_of(engine).jump_to(BEGINNING)
        return engine

    def teardown(self) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._runner.close()

    # What is there to choose from.

    def _any(self, place: int) -> Row:
        rows = list(self.model.rows.values())
        return rows[place % len(rows)]

    def _has_rows(self) -> bool:
        return bool(self.model.rows)

    def _has_room(self) -> bool:
        live = sum(not row.ended for row in self.model.rows.values())
        return live < LIVE_MAX and len(self.model.rows) < ROWS_MAX

    def _refused(self, operation: Any, expected: Any) -> Any:
        """Does it to both. Returns the answers of the engine and of the model; a refusal is told by its name."""
        try:
            wanted = expected()
        except Refused as refusal:
            wanted = str(refusal)
            self.met[wanted] += 1
        try:
            told = self._run(operation)
        except OutlastError as error:
            told = type(error).__name__
        return told, wanted

    # Starts.

    @initialize(
        first=st.lists(WHATS, min_size=4, max_size=6), early=st.lists(NAMES, max_size=3), then=st.integers(2, 8)
    )
    def begin(self, first: Any, early: Any, then: int) -> None:
        what = programs.errand.new(plan=["ok"])
        self._run(self.engine.schedule(what, _EACH_HOUR, name="hourly", catch_up="all", window=10**7))
        for program, plan in first:
            handle = self._run(self.engine.start(programs.described(program, plan)))
            row = Row(handle.id, program, plan)
            self.model.start(row)
            for name in early:  # before anybody waits for them.
                assert self._run(handle.signal(name, "early")) == self.model.signal(row, name, "early", None)
        self._run_some(then)

    @precondition(lambda self: self._has_room())
    @rule(
        what=WHATS,
        key=KEYS,
        gate=GATES,
        tags=TAGS,
        queue=QUEUES,
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0, 0, 0, 60]),
        returns=st.booleans(),
        then=_then,
    )
    def start(self, then: int, **options: Any) -> None:
        self._start(**options)
        self._run_some(then)

    def _start(
        self, what: Any, key: Any, gate: Any, tags: Any, queue: str, priority: int, delay: int, returns: bool
    ) -> None:
        program, plan = what
        holder = None if key is None else self.model.holder(key)
        start = self.engine.start(
            programs.described(program, plan),
            correlation_key=key,
            concurrency_key=gate,
            tags=tags,
            queue=queue,
            priority=priority,
            schedule_in=delay,
            on_conflict="return" if returns else "raise",
        )
        if holder is not None and not returns:
            with pytest.raises(DuplicateKey) as refused:
                self._run(start)
            assert refused.value.handle.id == holder.id
            self.met["DuplicateKey"] += 1
            return
        id = self._run(start).id
        if holder is not None:
            assert id == holder.id
            return
        row = Row(id, program, plan, queue=queue, priority=priority, key=key, gate=gate, tags=tags)
        self.model.start(row, delay)

    @precondition(lambda self: self._has_room())
    @rule()
    def trigger(self) -> None:
        handle = self._run(self.engine.trigger_schedule("hourly"))
        self.model.start(Row(handle.id, "job", ["ok"]))

    # Signals and answers.

    @precondition(_has_rows)
    @rule(
        place=_place, name=NAMES, dedup=st.sampled_from([None, None, "d1", "d2"]), payload=st.integers(0, 3), then=_then
    )
    def signal(self, place: int, name: str, dedup: str | None, payload: int, then: int) -> None:
        row = self._any(place)
        told = self._run(self.engine.signal(row.id, name, payload, dedup_key=dedup))
        self.touched.add(row.id)
        assert told == self.model.signal(row, name, payload, dedup)
        self.met[told] += 1
        self._run_some(then)

    @rule(key=st.sampled_from(["k1", "k2", "nobody"]), name=NAMES, dedup=st.sampled_from([None, "d1"]))
    def signal_by_key(self, key: str, name: str, dedup: str | None) -> None:
        row = self.model.holder(key)
        told = self._run(self.engine.signal(key, name, "by key", dedup_key=dedup))
        wanted = self.model.signal(row, name, "by key", dedup)
        if row is None and any(each.key == key for each in self.model.rows.values()):
            wanted = "ended"
        assert told == wanted
        if row is not None:
            self.touched.add(row.id)

    @precondition(_has_rows)
    @rule(place=_place, answer=ANSWERS, then=_then)
    def answer(self, place: int, answer: str, then: int) -> None:
        flows = [row for row in self.model.rows.values() if row.program == "flow"]
        if flows:
            row = flows[place % len(flows)]
            told, wanted = self._refused(
                self.engine.provide_input(row.id, "boss", answer), lambda: self.model.answer(row, "boss", answer)
            )
            assert told == wanted
            self._run_some(then)

    # Operators.

    @precondition(_has_rows)
    @rule(place=_place, tree=st.booleans(), really=_seldom)
    def cancel(self, place: int, tree: bool, really: bool) -> None:
        row = self._any(place)
        if really:
            self._same_act(self.engine.cancel(row.id, tree=tree), lambda: self.model.cancel(row, tree=tree))

    @precondition(_has_rows)
    @rule(place=_place, tree=st.booleans(), pauses=_seldom)
    def pause_or_resume(self, place: int, tree: bool, pauses: bool) -> None:
        row = self._any(place)
        if row.paused or not pauses:
            self._same_act(self.engine.resume(row.id, tree=tree), lambda: self.model.resume(row, tree=tree))
        else:
            self._same_act(self.engine.pause(row.id, tree=tree), lambda: self.model.pause(row, tree=tree))

    @precondition(lambda self: any(row.ended for row in self.model.rows.values()))
    @rule(place=_place, then=_then)
    def retry(self, place: int, then: int) -> None:
        ended = [row for row in self.model.rows.values() if row.ended or row.status == "quarantined"]
        row = ended[place % len(ended)]
        self._same_act(self.engine.retry(row.id), lambda: self.model.retry(row))
        self._run_some(then)

    def _same_act(self, operation: Any, expected: Any) -> None:
        told, wanted = self._refused(operation, expected)
        assert (told if isinstance(told, str) else None) == wanted

    @precondition(_has_rows)
    @rule(place=_place, really=_seldom)
    def delete(self, place: int, really: bool) -> None:
        row = self._any(place)
        if not really:
            return
        if row.ended or row.parent is None:
            self._run(self.engine.delete(row.id))
            self.model.delete(row)

    @rule(queue=QUEUES, pauses=_seldom)
    def turn_queue(self, queue: str, pauses: bool) -> None:
        if pauses:
            self._run(self.engine.pause_queue(queue))
            self.model.paused_queues.add(queue)
        else:
            self._run(self.engine.resume_queue(queue))
            self.model.paused_queues.discard(queue)

    @rule()
    def prune(self) -> None:
        pruned = self.model.prune()
        assert self._run(prune(self.engine)) == pruned
        self.met["pruned"] += bool(pruned)

    # Time.

    @rule(minutes=st.sampled_from([1, 1, 2, 10, 70]), then=_then)
    def jump(self, minutes: int, then: int) -> None:
        clock_of(self.engine).jump(minutes * 60)
        self.model.now += minutes * 60
        due = int((self.model.now + 30 * 60 + 30) // 3_600) - self.hours
        before = {each.id for each in self._run(self.engine.list(limit=1_000))}
        assert self._run(fire_schedules(self.engine)) == due
        fired = [each for each in self._run(self.engine.list(limit=1_000)) if each.id not in before]
        assert len(fired) == due
        for each in sorted(fired, key=lambda each: str(each.correlation_key)):
            self.hours += 1
            tick = BEGINNING.replace(minute=0, second=0) + timedelta(hours=self.hours)
            self.model.start(Row(each.id, "job", ["ok"], key=f"hourly@{tick:%Y-%m-%dT%H:%M:%S}Z"))
        self._run_some(then)

    # Steps.

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        self._run_some(count)

    def _run_some(self, count: int) -> None:
        for _ in range(count):
            self._run_one()

    @rule()
    def settle(self) -> None:
        for _ in range(200):
            if not self._run_one():
                break
        else:
            raise AssertionError("200 steps, and no end")
        left = [(row.program, row.plan) for row in self.model.rows.values() if self.model.may_run(row)]
        assert not left, f"nobody runs {left}"

    @rule(after=st.booleans())
    def crash(self, after: bool) -> None:
        self._run_one(crash_after_commit if after else crash_before_commit)

    def _run_one(self, crash: Any = None) -> bool:
        """One step of whatever the engine picks. Whether there was one."""
        ready = list(self._run(self.engine.list(status="ready", limit=1_000)))
        told: list[dict[str, Any]] = []
        stop = self.engine.on("step.stop", lambda name, fields: told.append(fields))
        hits = 0
        try:
            hits = self._run(self._drained(crash))
        finally:
            stop()
        if not told:
            ready = [each for each in ready if each.queue not in self.model.paused_queues]
            assert not ready
            return False
        (ran,) = told
        row = self.model.rows[ran["id"]]
        assert self.model.may_run(row), f"{row} ran, and may not"
        rivals = [each.priority for each in ready if each.queue == row.queue]
        assert not rivals or row.priority <= min(rivals)
        assert (ran["step"], ran["attempt"]) == (row.step, row.attempt)
        self.touched.add(row.id)
        if hits:
            self.met[f"crash of a {row.program}"] += 1
        if row.status == "waiting":
            self.met["late"] += 1
        if hits and crash is crash_before_commit and row.program != "flow":
            self.model.crash(row)
            return True
        self.met[str(ran["kind"])] += 1
        when = None if not hits else "before" if crash is crash_before_commit else "after"
        kind = self.model.run(row, when)
        assert ran["kind"] == kind, f"{ran['kind']!r} of {row}, not {kind!r}"
        if self.model.born:
            self._meet(row)
        return True

    async def _drained(self, crash: Any) -> int:
        fault = None
        try:
            if crash is None:
                await drain(self.engine, with_scheduled=False, max_steps=1)
                return 0
            with crash(self.engine, step=None) as fault:
                await drain(self.engine, with_scheduled=False, max_steps=1)
        except TooManySteps:
            pass
        except AssertionError as error:
            if "hit nothing" not in str(error):
                raise
        return 0 if fault is None else fault.hits

    def _meet(self, parent: Row) -> None:
        """Learns the ids of children that a step has started."""
        found = [each for each in self._run(self.engine.children(parent.id)) if each.id not in self.model.rows]
        assert len(found) == len(self.model.born)
        for child, each in zip(self.model.born, found, strict=True):
            child.id = each.id
            self.model.start(child)

    # Objects.

    @rule(id=st.sampled_from("xy"), amount=st.integers(-2, 5), fails=st.booleans())
    def call(self, id: str, amount: int, fails: bool) -> None:
        ref = self.engine.object(programs.Counter, id)
        if fails:
            try:
                self._run(ref.fail(amount))
            except ValueError:
                self.counts.setdefault(id, 0)
                return
            raise AssertionError("a handler's exception was lost")
        self.counts[id] = self.counts.get(id, 0) + amount
        assert self._run(ref.add(amount)) == self.counts[id]

    @rule(id=st.sampled_from("xy"), name=st.sampled_from(["first", "second"]), minutes=st.integers(1, 5))
    def remind(self, id: str, name: str, minutes: int) -> None:
        self._run(self.engine.object(programs.Counter, id).remind(name, minutes * 60))
        self.counts.setdefault(id, 0)
        self.alarms[id, name] = self.model.now + minutes * 60

    @rule()
    def ring(self) -> None:
        self.met["alarm"] += bool(self.alarms)
        due = [place for place, at in self.alarms.items() if at <= self.model.now]
        assert self._run(drain_alarms(self.engine, programs.Counter, with_scheduled=False)) == len(due)
        for id, name in due:
            del self.alarms[id, name]
            self.counts[id] += {"first": 100, "second": 1_000}[name]

    @rule(id=st.sampled_from("xy"))
    def delete_object(self, id: str) -> None:
        told = self._run(self.engine.delete_object(self.engine.object(programs.Counter, id)))
        assert told == (self.counts.pop(id, None) is not None)
        self.alarms = {place: at for place, at in self.alarms.items() if place[0] != id}

    # What must be the same.

    @invariant()
    def rows_are_the_same(self) -> None:
        found = {each.id: each for each in self._run(self.engine.list(limit=1_000))}
        assert found.keys() == self.model.rows.keys()
        now = clock_of(self.engine).now()
        for id, row in self.model.rows.items():
            told, wanted = _seen(found[id], now), self._wanted(row)
            self.met[told["status"]] += 1
            assert told == wanted, f"{told}\nis not\n{wanted}\nof {row}"
        self._counts_are_the_same(found)

    def _wanted(self, row: Row) -> dict[str, Any]:
        status = self.model.status(row)
        moment = {"later": row.due, "waiting": row.wake}.get(status)
        return {
            "program": PROGRAMS[row.program], "status": status, "attempt": row.attempt, "crashes": row.crashes,
            "result": row.result, "queue": row.queue, "priority": row.priority, "key": row.key, "gate": row.gate,
            "tags": row.tags, "paused": row.paused, "error": row.error if row.status == "failed" else None,
            "awaits": sorted(row.awaits) if status == "waiting" else [],
            "minute": None if moment is None else moment // 60,
            "parent": None if row.parent is None else row.parent.id,
        }  # fmt: skip

    def _counts_are_the_same(self, found: dict[str, Any]) -> None:
        assert self._run(self.engine.totals()) == Tally(each.status for each in found.values())
        by_program = Tally(PROGRAMS[row.program] for row in self.model.rows.values())
        assert self._run(self.engine.totals(by="program")) == by_program
        tagged = [row.id for row in self.model.rows.values() if row.tags.get("t") == "1"]
        assert {each.id for each in self._run(self.engine.list(tags={"t": "1"}))} == set(tagged)
        for key in ("k1", "k2"):
            holder, told = self.model.holder(key), self._run(self.engine.find(key))
            assert (holder is None) == (told is None or told.finished_at is not None)
            assert holder is None or holder.id == told.id

    @invariant()
    def inboxes_are_the_same(self) -> None:
        for id in self.touched & self.model.rows.keys():
            told = [
                (signal.name, signal.payload)
                for signal in self._run(self.engine.signals(id))
                if signal.consumed_at is None and not signal.name.startswith("~")
            ]
            assert told == [(letter.name, letter.payload) for letter in self.model.rows[id].inbox]
        self.touched.clear()

    @invariant()
    def questions_are_the_same(self) -> None:
        told = {asked.instance for asked in self._run(self.engine.pending_inputs())}
        assert told == {row.id for row in self.model.rows.values() if self.model.asked(row) and not row.ended}

    @invariant()
    def objects_are_the_same(self) -> None:
        objects = self._run(self.engine.list_objects(programs.Counter))
        assert {each.id: each.state.get("count", 0) for each in objects} == self.counts


def _seen(each: Any, now: datetime) -> dict[str, Any]:
    """An instance, as the model has it."""
    status = each.status
    if status in ("scheduled", "ready", "blocked"):
        status = "later" if each.due_at > now else "queued"
    elif status == "waiting" and each.wake_at is not None and each.wake_at <= now:
        status = "queued"
    moment = {"later": each.due_at, "waiting": each.wake_at}.get(status)
    seconds = None if moment is None else (moment - BEGINNING).total_seconds()
    return {
        "program": each.program, "status": status, "attempt": each.attempt, "crashes": each.crashes,
        "result": each.result, "queue": each.queue, "priority": each.priority, "key": each.correlation_key,
        "gate": each.concurrency_key, "tags": each.tags, "paused": each.paused_at is not None,
        "error": each.error["type"] if status == "failed" and each.error else None,
        "awaits": sorted(name for name in each.awaits or () if name[0] != "~") if status == "waiting" else [],
        "minute": None if seconds is None else seconds // 60,
        "parent": each.parent,
    }  # fmt: skip
