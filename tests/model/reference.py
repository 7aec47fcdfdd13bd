"""What outlast promises, told once more without a database, a loop or a line of its code.

The model does not foretell which instance runs next: it is told, and says whether that one might run and what must have
come of it. Rows that are due are `queued` here, wherever the engine has them (`ready`, `blocked`, due and `scheduled`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FINAL = ("done", "failed", "cancelled", "compensated")
RETENTION_S = 3_600.0
CRASHES_MAX = 3
PROGRAMS = {"job": "model.job", "robot": "model.robot", "flow": "model.flow"}
FIRST_STEPS = {"job": "run", "robot": "start", "flow": "workflow"}


class Refused(Exception):
    """The engine must refuse this with an error of this name."""


@dataclass(eq=False)
class Letter:
    """A signal that nobody has used up."""

    name: str
    payload: Any


@dataclass(eq=False)
class Row:
    """An instance. `at` is the move of its plan that comes next, `deadline` when the wait of a flow is over."""

    id: str
    program: str
    plan: list[Any]
    queue: str = "default"
    priority: int = 0
    key: str | None = None
    gate: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    due: float = 0.0
    parent: Row | None = None
    round: int = 0
    status: str = "queued"
    step: str = ""
    attempt: int = 0
    crashes: int = 0
    paused: bool = False
    at: int = 0
    heard: list[Any] = field(default_factory=list)
    awaits: list[str] = field(default_factory=list)
    wake: float | None = None
    inbox: list[Letter] = field(default_factory=list)
    dedups: set[str] = field(default_factory=set)
    result: Any = None
    error: str | None = None
    finished: float | None = None
    spawns: int = 0
    pending: int | None = None
    retries: int = 0
    # Of flows only.
    deadline: float | None = None
    begun: bool = False
    tries: int = 0
    charged: bool = False
    broken: bool = False
    doomed: bool = False
    child: Row | None = None
    news: dict[str, tuple[str, Any]] = field(default_factory=dict)
    answers: dict[int, list[str]] = field(default_factory=dict)
    answered: set[tuple[int, int]] = field(default_factory=set)
    read: list[Letter] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in FINAL


class Model:
    """All that there is.

    Attributes:
        now: Seconds since the beginning.
        rows: Instances by id.
        born: Children that the last step has started, for whom nobody knows an id yet.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: dict[str, Row] = {}
        self.paused_queues: set[str] = set()
        self.born: list[Row] = []

    def holder(self, key: str) -> Row | None:
        """Who holds a correlation key."""
        return next((row for row in self.rows.values() if row.key == key and not row.ended), None)

    def start(self, row: Row, delay: float = 0.0) -> None:
        """A new instance. Its key must be free."""
        assert row.key is None or self.holder(row.key) is None
        row.step = row.step or FIRST_STEPS[row.program]
        row.due = self.now + delay
        self.rows[row.id] = row

    def status(self, row: Row) -> str:
        """Where it stands, as the machine compares it."""
        if row.status == "queued" and row.due > self.now:
            return "later"
        if row.status == "waiting" and row.wake is not None and row.wake <= self.now:
            return "queued"
        return row.status

    def may_run(self, row: Row) -> bool:
        """Whether a worker may run it now."""
        return self.status(row) == "queued" and not row.paused and row.queue not in self.paused_queues

    # What callers do.

    def signal(self, row: Row | None, name: str, payload: Any, dedup: str | None) -> str:
        """What a signal must be answered with."""
        if row is None:
            return "no_target"
        if row.ended:
            return "ended"
        if dedup is not None and dedup in row.dedups:
            return "duplicate"
        if dedup is not None:
            row.dedups.add(dedup)
        row.inbox.append(Letter(name, payload))
        if row.status == "waiting" and name in row.awaits:
            self._wake(row)
        return "delivered"

    def answer(self, row: Row, name: str, answer: str) -> str:
        """An answer to what a flow asks."""
        if self.asked(row) != name:
            raise Refused("NotFound")
        if row.ended:
            return "ended"
        if (row.at, row.retries) in row.answered:
            return "duplicate"
        row.answered.add((row.at, row.retries))
        row.answers.setdefault(row.at, []).append(answer)
        if row.status == "waiting":
            self._wake(row)
        return "delivered"

    def asked(self, row: Row) -> str | None:
        """What a flow asks people for."""
        if row.program == "flow" and row.begun and row.at < len(row.plan) and row.plan[row.at][0] == "ask":
            return str(row.plan[row.at][1])
        return None

    def cancel(self, row: Row, *, tree: bool) -> None:
        """Ends it, and with `tree` its descendants."""
        if row.ended and row.status != "cancelled":
            raise Refused("IllegalMove")
        for each in [row, *self.descendants(row)] if tree else [row]:
            if not each.ended:
                self._end(each, "cancelled", error="")

    def delete(self, row: Row) -> None:
        """Deletes it. Who waits for it waits no longer."""
        if not row.ended:
            self._tell_parent(row, row.status)
        del self.rows[row.id]

    def pause(self, row: Row, *, tree: bool) -> None:
        """Lets it begin nothing more."""
        live = [each for each in ([row, *self.descendants(row)] if tree else [row]) if not each.ended]
        turned = [each for each in live if not each.paused]
        if row.ended and not turned:
            raise Refused("IllegalMove")
        for each in turned:
            each.paused = True

    def resume(self, row: Row, *, tree: bool) -> None:
        """Takes that back."""
        turned = [each for each in ([row, *self.descendants(row)] if tree else [row]) if each.paused]
        if row.ended and not turned:
            raise Refused("IllegalMove")
        for each in turned:
            each.paused = False

    def retry(self, row: Row) -> None:
        """Runs it again."""
        if not row.ended and row.status != "quarantined":
            raise Refused("IllegalMove")
        if row.status == "done":
            raise Refused("IllegalMove")
        if row.status == "compensated" and any(not each.ended for each in self.children(row)):
            raise Refused("IllegalMove")
        if row.key is not None and self.holder(row.key) not in (None, row):
            raise Refused("DuplicateKey")
        parent = row.parent
        if row.ended and parent is not None and parent.id in self.rows and parent.status == "waiting":
            if parent.pending is not None and parent.spawns == row.round:
                parent.pending += 1
        if row.program == "flow":
            if row.status == "compensated":  # from the beginning; what it had read is unread again.
                row.inbox[:0], row.read = row.read, []
                row.at, row.heard, row.begun, row.deadline, row.charged = 0, [], False, None, False
                row.doomed = False
            row.deadline = None if row.tries else row.deadline
            row.tries, row.broken = 0, row.doomed
        row.retries += 1
        row.status, row.due, row.attempt, row.crashes = "queued", self.now, 0, 0
        row.result, row.finished = None, None

    def prune(self) -> int:
        """Deletes what is past its retention, but no children of live parents. Returns how many."""
        gone = [
            row
            for row in self.rows.values()
            if row.finished is not None
            and row.finished + RETENTION_S <= self.now
            and (row.parent is None or row.parent.id not in self.rows or row.parent.ended)
        ]
        for row in gone:
            del self.rows[row.id]
        return len(gone)

    def children(self, row: Row) -> list[Row]:
        """Its children that are there."""
        return [each for each in self.rows.values() if each.parent is row]

    def descendants(self, row: Row) -> Iterator[Row]:
        """All below it."""
        for child in self.children(row):
            yield child
            yield from self.descendants(child)

    # What a step does.

    def crash(self, row: Row) -> None:
        """The process dies before the outcome of its step is committed."""
        row.crashes += 1
        row.status, row.wake, row.pending = ("quarantined" if row.crashes >= CRASHES_MAX else "queued"), None, None

    def run(self, row: Row, crash: str | None = None) -> str | None:
        """It runs one step (a flow as far as it comes). Returns the kind of outcome that must be told.

        Args:
            crash: A flow's process dies "before" or "after" it commits the first of its steps that is over.
        """
        row.status, row.wake, row.pending = "running", None, None
        self.born = []
        if row.program == "flow":
            return self._flow(row, crash)
        return self._job(row) if row.program == "job" else self._robot(row)

    def _job(self, row: Row) -> str:
        match row.plan[min(row.attempt, len(row.plan) - 1)]:
            case "boom":
                return self._again(row, 60, "ValueError")
            case "again":
                return self._again(row, 0, "Retry")
            case "later":
                return self._again(row, 120, "Retry")
            case "cancel":
                return self._end(row, "cancelled", error="")
        return self._end(row, "done", result=row.attempt)

    def _again(self, row: Row, delay: float, error: str, most: int | None = 3) -> str:
        row.attempt += 1
        if most is not None and row.attempt >= most:
            return self._end(row, "failed", error=error)
        row.status, row.due, row.error = "queued", self.now + delay, error
        return "retry"

    def _robot(self, row: Row) -> str:
        at, heard = row.at, copy.deepcopy(row.heard)
        awaited = [letter for letter in row.inbox if letter.name in row.awaits]
        asked: list[Letter] = []
        payloads = [letter.payload for letter in awaited]
        if row.step == "woken":
            heard.append(payloads or "late")
        elif row.step == "gathered":
            name, count = row.plan[at][1:]
            if len(awaited) < count:
                return self._park(row, [name], None, "gathered", awaited)
            heard.append(payloads)
            at += 1
        elif row.step == "joined":
            kids = [each for each in self.children(row) if each.round == row.spawns]
            heard.append([each.status if each.ended else "live" for each in kids])
        while at < len(row.plan):
            match row.plan[at]:
                case ["flaky"] if row.attempt == 0:
                    return self._again(row, 60, "ValueError", None)
                case ["boom"]:
                    if row.attempt == 0:
                        return self._again(row, 60, "ValueError", None)
                    row.attempt += 1
                    return self._end(row, "failed", error="Stop")
                case ["again", delay] if row.attempt == 0:
                    row.at, row.heard = at, heard
                    return self._again(row, delay, "Retry", None)
                case ["stash", name]:
                    asked += [letter for letter in row.inbox if letter.name == name]
                case ["next"] | ["gate", _]:
                    if row.plan[at][0] == "gate":
                        row.gate = row.plan[at][1]
                    self._use(row, awaited + asked)
                    row.at, row.heard, row.attempt, row.awaits = at + 1, heard, 0, []
                    row.status, row.due, row.step = "queued", self.now, "start"
                    return "next"
                case ["await", names, timeout]:
                    row.at, row.heard = at + 1, heard
                    self._use(row, asked)
                    return self._park(row, names, timeout, "woken", awaited)
                case ["gather", name, _]:
                    row.at, row.heard = at, heard
                    self._use(row, asked)
                    return self._park(row, [name], None, "gathered", awaited)
                case ["spawn", children, need, timeout]:
                    self._use(row, awaited + asked)
                    row.at, row.heard, row.awaits = at + 1, heard, []
                    row.spawns += 1
                    self.born = [Row("", program, plan, parent=row, round=row.spawns) for program, plan in children]
                    row.status, row.step, row.attempt = "waiting", "joined", 0
                    row.pending = len(children) if need is None else need
                    row.wake = None if timeout is None else self.now + timeout
                    return "spawn"
                case ["stop"]:
                    self._use(row, awaited + asked)
                    row.at, row.heard, row.attempt = at, heard, row.attempt + 1
                    return self._end(row, "failed", error="Stop")
                case ["cancel"]:
                    self._use(row, awaited + asked)
                    return self._end(row, "cancelled", error="")
            at += 1
        self._use(row, awaited + asked)
        row.at, row.heard = at, heard
        return self._end(row, "done", result=heard)

    def _use(self, row: Row, letters: list[Letter]) -> None:
        row.inbox = [letter for letter in row.inbox if letter not in letters]

    def _park(self, row: Row, names: list[str], timeout: float | None, then: str, seen: list[Letter]) -> str:
        row.status, row.awaits, row.step, row.attempt = "waiting", names, then, 0
        row.wake = None if timeout is None else self.now + timeout
        if any(letter.name in names and letter not in seen for letter in row.inbox):
            self._wake(row)
        return "await"

    def _wake(self, row: Row) -> None:
        row.status, row.due, row.wake, row.pending = "queued", self.now, None, None

    def _flow(self, row: Row, crash: str | None) -> str | None:
        while not row.broken and row.at < len(row.plan):
            is_step = row.plan[row.at][0] in ("act", "charge")
            if crash == "before" and is_step and self._is_over(row):
                return self.crash(row)
            done, value = self._move(row, row.plan[row.at])
            if done:
                row.heard += value
                row.at, row.begun, row.deadline, row.tries, row.child = row.at + 1, False, None, 0, None
            elif value == "failed":
                row.broken = True
            else:
                row.status, row.attempt, row.wake = "waiting", 0, row.deadline
                return "await"
            if crash == "after" and is_step:
                return self.crash(row)
        if not row.broken:
            return self._end(row, "done", result=row.heard)
        row.doomed = row.charged
        if crash is not None and row.charged:
            return self.crash(row)
        row.attempt += 1
        return self._end(row, "compensated" if row.charged else "failed", error="ValueError")

    def _is_over(self, row: Row) -> bool:
        """Whether a flow's next step is over when it has run: done, or failed for good."""
        done, value = self._move(copy.copy(row), row.plan[row.at])
        return done or value == "failed"

    def _move(self, row: Row, move: list[Any]) -> tuple[bool, Any]:
        """One move of a flow: whether it is over, and what was heard; or whether the flow has failed with it."""
        first, row.begun, row.awaits = not row.begun, True, []
        is_late = row.deadline is not None and row.deadline <= self.now
        match move:
            case ["act", kind]:
                if row.deadline is not None and not is_late:
                    return False, None
                if kind == "ok" or (kind == "flaky" and row.tries):
                    return True, [kind]
                if row.tries:
                    return False, "failed"
                row.tries, row.deadline = 1, self.now + 60
                return False, None
            case ["charge"]:
                row.charged = True
                return True, ["paid"]
            case ["sleep", seconds]:
                row.deadline = self.now + seconds if first else row.deadline
                return (True, []) if is_late else (False, None)
            case ["wait", name, timeout]:
                row.deadline = (None if timeout is None else self.now + timeout) if first else row.deadline
                found = next((letter for letter in row.inbox if letter.name == name), None)
                if found is not None:
                    row.inbox.remove(found)
                    row.read.append(found)
                    return True, [found.payload]
                row.awaits = [name]
            case ["ask", _, timeout]:
                row.deadline = (None if timeout is None else self.now + timeout) if first else row.deadline
                if answers := row.answers.get(row.at):
                    return True, answers[:1]
            case ["child", program, script]:
                if first:
                    row.child = Row("", program, script, parent=row, round=1)
                    self.born = [row.child]
                elif row.child is not None and row.child.id in row.news:
                    return True, [list(row.news[row.child.id])]
        return (True, ["late"]) if is_late else (False, None)

    def _end(self, row: Row, status: str, *, result: Any = None, error: str | None = None) -> str:
        row.status, row.result, row.finished, row.paused = status, result, self.now, False
        row.error = error if error is not None else row.error
        row.awaits, row.wake, row.pending = [], None, None
        self._tell_parent(row, status)
        return "failed" if status == "compensated" else status

    def _tell_parent(self, row: Row, status: str) -> None:
        parent = row.parent
        if parent is None or parent.id not in self.rows or parent.ended:
            return
        if parent.program == "flow":
            parent.news.setdefault(row.id, (status, row.result))
            if parent.status == "waiting" and parent.child is row:
                self._wake(parent)
        elif parent.status == "waiting" and parent.pending is not None and parent.spawns == row.round:
            parent.pending -= 1
            if parent.pending == 0:
                self._wake(parent)
