"""Objects: what is stored of them, of their alarms and of the calls that travel to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

ObjectKey = tuple[str, str]
"""An object's type and id. Two columns, never one text: ("a", "b:c") is not ("a:b", "c")."""


class Wanted(msgspec.Struct, frozen=True):
    """An object that a node wants to own.

    Attributes:
        type, id: Which.
        version, state: What is stored when there is none yet.
    """

    type: str
    id: str
    version: int
    state: str


class Owned(NamedTuple):
    """An object that a node has come to own.

    Attributes:
        type, id: Which.
        version, state: As stored; `version` is that of the code that wrote the state.
        epoch: Counts changes of ownership; every write of this owner names it.
        commits: Writes so far; the next one is `commits + 1`.
        is_new: Whether it was made just now.
    """

    type: str
    id: str
    version: int
    state: str
    epoch: int
    commits: int
    is_new: bool


class Activated(NamedTuple):
    """What became of wishes to own.

    Attributes:
        owned: Those that the node owns now.
        elsewhere: Those that another living node owns: type, id, node.
    """

    owned: list[Owned]
    elsewhere: list[tuple[str, str, str]]


class ObjectRow(NamedTuple):
    """An object as it is stored.

    Attributes:
        type, id: Which.
        version, state: Its state as JSON text, and the version of the code that wrote it.
        node: The living node that owns it, or None.
        epoch, commits: How often it changed hands, and was written.
        created_at, updated_at: Aware instants.
    """

    type: str
    id: str
    version: int
    state: str
    node: str | None
    epoch: int
    commits: int
    created_at: datetime
    updated_at: datetime


class AlarmRow(msgspec.Struct, frozen=True):
    """An alarm of an object.

    Attributes:
        type, id, name: Which; an object has at most one alarm of a name.
        revision: Made by whoever sets it; an alarm that was set again is another one.
        due_us: When it is due, microseconds since 1970; None when written: `delay_s` from the store's now.
        delay_s: Seconds from now; only when written.
        attempt: Failures of its handler so far.
        every_s: Seconds between occurrences, or None.
        cron, zone: A cron expression and its time zone, or None.
        error: The last failure as JSON text, or None.
        failed_us: When the last attempt failed for good; such an alarm stays, and is not due.
    """

    type: str
    id: str
    name: str
    revision: str
    due_us: int | None = None
    delay_s: float | None = None
    attempt: int = 0
    every_s: float | None = None
    cron: str | None = None
    zone: str | None = None
    error: str | None = None
    failed_us: int | None = None


class AlarmMove(msgspec.Struct, frozen=True):
    """What became of an alarm that rang, unless it was set again or cancelled meanwhile.

    Attributes:
        name, revision: Which.
        due_us: When it is due next (microseconds since 1970), or None.
        delay_s: Seconds from now until it is due next, or None. With neither, it is done: deleted.
        attempt: Failures so far.
        error: The last failure as JSON text, or None.
        failed: No further attempt: it stays, and is not due.
    """

    name: str
    revision: str
    due_us: int | None = None
    delay_s: float | None = None
    attempt: int = 0
    error: str | None = None
    failed: bool = False


class AlarmsDue(NamedTuple):
    """Alarms that a node may ring.

    Attributes:
        now_us: The store's clock, microseconds since 1970.
        alarms: Due ones, the earliest first.
        next_s: Seconds until the next one that is not due yet; None: there is none.
    """

    now_us: int
    alarms: list[AlarmRow]
    next_s: float | None


class NewCall(msgspec.Struct, frozen=True):
    """A call that travels to an object's owner.

    Attributes:
        call: Its own id, a UUID made by the caller; posting it again is harmless.
        type, id, handler, args: What is called with what; `args` is a JSON object.
        sender: Who waits for the answer, and is rung; None: nobody does, and the call goes when it has been handled.
        key: An idempotency key, unique for the object: the answer is kept for `keep_s`.
        chain: JSON array of [type, id]: the calls that this one is part of.
        timeout_s: Seconds after which it is not begun any more, or None.
        keep_s: Seconds to keep the answer, with a key.
    """

    call: str
    type: str
    id: str
    handler: str
    args: str
    sender: str | None = None
    key: str | None = None
    chain: str = "[]"
    timeout_s: float | None = None
    keep_s: float = 86_400.0


class Posted(NamedTuple):
    """A call that was posted.

    Attributes:
        call: Its id; that of an earlier call when one with its key is there already.
        node: The living node that owns the object, or None.
    """

    call: str
    node: str | None


class WaitingCall(NamedTuple):
    """A call without an answer, as an owner sees it.

    Attributes:
        call, type, id, handler, args, sender, key, chain: See `NewCall`.
        left_s: Seconds until it must not be begun any more, or None.
        mine: Whether the node that asks owns the object; else nobody does.
    """

    call: str
    type: str
    id: str
    handler: str
    args: str
    sender: str | None
    key: str | None
    chain: str
    left_s: float | None
    mine: bool


class Answer(NamedTuple):
    """What became of a call.

    Attributes:
        call: Which.
        result: What its handler returned, as JSON text; None: it failed.
        error: Its failure as JSON text, or None.
    """

    call: str
    result: str | None
    error: str | None


class ObjectCommit(msgspec.Struct, frozen=True):
    """What one or more calls left of an object: written whole or not at all, fenced by its epoch.

    The parts are applied in the order of the fields, so that an alarm that is set again while it rings stays.

    Attributes:
        type, id, epoch: Which, and under which ownership.
        commit: Its number, one more than the last; writing it again is harmless.
        version, state: The new state.
        expires_s: Seconds after which the object may be deleted if nobody touches it; None: never.
        deleted: The object goes, with its alarms; calls that wait stay, and make a new one.
        moved: What became of alarms that rang.
        clears_alarms: Whether all its alarms are cancelled.
        cancelled: Names of alarms that are cancelled.
        alarms: Alarms that are set.
        sends: One-way calls that go out.
        answers: Answers to calls that came through the store. One of a call without a sender or key deletes it.
        released: Whether the node gives the object up.
    """

    type: str
    id: str
    epoch: int
    commit: int
    version: int
    state: str
    expires_s: float | None = None
    deleted: bool = False
    moved: Sequence[AlarmMove] = ()
    clears_alarms: bool = False
    cancelled: Sequence[str] = ()
    alarms: Sequence[AlarmRow] = ()
    sends: Sequence[NewCall] = ()
    answers: Sequence[Answer] = ()
    released: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the state is written."""
        return not (
            self.deleted
            or self.moved
            or self.clears_alarms
            or self.cancelled
            or self.alarms
            or self.sends
            or self.answers
            or self.released
        )
