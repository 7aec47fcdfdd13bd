"""Every error of Outlast, in one tree. Catch a branch, read the fields, show the message.

OutlastError
├── UsageError                 the caller's mistake: nothing was stored
│   ├── ConfigError            an engine option, setting or URL
│   ├── DefinitionError        a decorator used wrongly
│   ├── WorkflowError          something that a workflow's own code cannot do
│   ├── InvalidAnswer          a person's answer that does not fit what was asked
│   ├── ArgumentError          `.new(...)` does not fit the signature
│   ├── EncodingError          a value that cannot be stored as JSON
│   │   └── ValueTooLarge      a value above the size limit
│   ├── UnknownProgram         nothing is registered under that name
│   ├── UnknownQueue           no such queue
│   ├── NotFound               no such instance
│   ├── DuplicateKey           another instance holds the correlation key
│   ├── IllegalMove            the instance's status does not allow it
│   └── EngineStateError       the engine is not running, or already is
├── InstanceError              how an instance ended, raised by `result()`
│   ├── InstanceFailed
│   ├── InstanceCancelled
│   └── InstanceQuarantined
├── ChildrenFailed             some children of a machine did not end well
├── ChildFailed                a child that a workflow called did not end well
├── CallError                  a call to an object came to nothing; its `happened` says what is known of it
│   ├── CallTimeout            no answer in time
│   ├── MailboxFull            too many calls wait for the object
│   ├── OwnershipLost          another process has taken the object over
│   ├── CallCycle              the object waits, somewhere down the line, for this very call
│   └── HandlerFailed          its handler raised in another process; also an instance of what it raised
├── StepFailed                 a workflow's step failed for good; also an instance of what the step raised
├── WorkflowTimeout            a workflow ran longer than its `timeout`
├── InputCancelled             what a workflow asks people was called off
├── ResultTimeout              `result(timeout=...)` ran out; the instance goes on
├── StepTimeout                a step ran longer than its `timeout`
└── StoreError                 the database's trouble
    ├── StoreUnavailable       it cannot be reached
    ├── StoreReadOnly          it refuses writes
    ├── StoreFull              no space left
    ├── StoreCorrupt           the file is not a sound database
    └── SchemaError            its tables are missing, older or newer than this release
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class OutlastError(Exception):
    """The root of all errors raised by Outlast."""


class UsageError(OutlastError):
    """The caller's mistake. Nothing was stored."""


class ConfigError(UsageError, ValueError):
    """An engine option, a setting or a URL that cannot be used."""


class DefinitionError(UsageError, TypeError):
    """A program that cannot be defined like this."""


class WorkflowError(UsageError, RuntimeError):
    """Something that a workflow's own code cannot do, or can do only within a workflow."""


class InvalidAnswer(UsageError, ValueError):
    """A person's answer that does not fit what was asked.

    Attributes:
        problems: What is wrong, by field; "" for the answer as a whole.
    """

    def __init__(self, message: str, problems: dict[str, str]) -> None:
        super().__init__(message)
        self.problems = problems


class ArgumentError(UsageError, TypeError):
    """Arguments that do not fit the program's signature."""


class EncodingError(UsageError, ValueError):
    """A value that cannot be stored. The message names the path to it."""


class ValueTooLarge(EncodingError):
    """A value above the size limit.

    Attributes:
        bytes_seen: Its encoded size, in bytes.
        bytes_max: The limit, in bytes.
    """

    def __init__(self, what: str, bytes_seen: int, bytes_max: int) -> None:
        super().__init__(
            f"{what} takes {bytes_seen:,} bytes when encoded; the limit is {bytes_max:,}. "
            "Store large data elsewhere and pass a reference, or raise payload_bytes_max."
        )
        self.bytes_seen = bytes_seen
        self.bytes_max = bytes_max


class UnknownProgram(UsageError, LookupError):
    """No program is registered under that name (and version)."""


class UnknownQueue(UsageError, LookupError):
    """No such queue."""


class NotFound(UsageError, LookupError):
    """No such instance: never started, or already deleted by retention."""


class DuplicateKey(UsageError):
    """Another instance holds the correlation key.

    Attributes:
        key: The key.
        handle: Handle of the instance that holds it.
    """

    def __init__(self, key: str, handle: Any) -> None:
        super().__init__(
            f"correlation key {key!r} is held by instance {handle.id}. "
            'Use its handle (error.handle), or start with on_conflict="return".'
        )
        self.key = key
        self.handle = handle


class IllegalMove(UsageError):
    """The instance's status does not allow what was asked.

    Attributes:
        status: The status it has.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class EngineStateError(UsageError, RuntimeError):
    """The engine is not running, already running, or used from the wrong place."""


class InstanceError(OutlastError):
    """How an instance ended without a result.

    Attributes:
        id: The instance.
        reason: What was recorded, as text.
        error: The recorded error: a mapping with `type`, `message` and `traceback`, or None.
    """

    def __init__(self, message: str, *, id: str, reason: str, error: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.id = id
        self.reason = reason
        self.error = error


class InstanceFailed(InstanceError):
    """The instance ended as `failed`."""


class InstanceCancelled(InstanceError):
    """The instance ended as `cancelled`."""


class InstanceQuarantined(InstanceError):
    """The instance cannot be run and waits for an operator (`retry`, `cancel` or `delete` it)."""


class ChildrenFailed(OutlastError):
    """Some children of a machine did not end well.

    Attributes:
        ids: Those that did not, in order.
    """

    def __init__(self, message: str, ids: list[str]) -> None:
        super().__init__(message)
        self.ids = ids


class StepFailed(OutlastError):
    """A workflow's step failed for good. It is also an instance of the class that the step raised, where this process
    knows it: `except PaymentDeclined` works, now and when the workflow is run again from what it has recorded.

    Attributes:
        step: The step's name.
        error: The recorded error: a mapping with `type`, `message` and `traceback`.
    """

    def __init__(self, message: str, *, step: str, error: dict[str, Any]) -> None:
        Exception.__init__(self, message)
        self.step = step
        self.error = error

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class CallError(OutlastError):
    """A call to an object that came to nothing.

    Attributes:
        type, id, handler: What was called.
        happened: False: the object's state is as if it had never been called. True: the call's changes are committed.
            None: unknown; call again with the same `idempotency_key`, and it happens once.
    """

    def __init__(
        self, message: str, *, type: str = "", id: str = "", handler: str = "", happened: bool | None = None
    ) -> None:
        Exception.__init__(self, message)
        self.type = type
        self.id = id
        self.handler = handler
        self.happened = happened


class CallTimeout(CallError, TimeoutError):
    """No answer within the call's `timeout`."""


class MailboxFull(CallError):
    """More calls than `queue_limit` wait for the object. This one was not taken."""


class OwnershipLost(CallError):
    """Another process owns the object by now, or this one is closing."""


class CallCycle(CallError):
    """The object is at work on a call that this call is a part of: it would wait for itself. This one was not taken."""


class HandlerFailed(CallError):
    """An object's handler raised in another process. It is also an instance of the class that was raised, where this
    process knows it: `except OutOfStock` works wherever the object lives. The object's state is as it was.

    Attributes:
        error: The recorded error: a mapping with `type`, `message` and `traceback`.
    """

    error: dict[str, Any]

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ChildFailed(OutlastError):
    """A child that a workflow called did not end well.

    Attributes:
        id: The child.
        status: Its final status.
        error: Its recorded error: a mapping with `type`, `message` and `traceback`.
    """

    def __init__(self, message: str, *, id: str, status: str, error: dict[str, Any]) -> None:
        super().__init__(message)
        self.id = id
        self.status = status
        self.error = error


class WorkflowTimeout(OutlastError, TimeoutError):
    """A workflow ran longer than its `timeout`."""


class InputCancelled(OutlastError):
    """What a workflow asks people was called off: nobody will answer. The message is the reason that was given.

    Attributes:
        name: What was asked for.
        reason: Why, or an empty text.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"input {name!r} was called off{f': {reason}' if reason else ''}")
        self.name = name
        self.reason = reason


class ResultTimeout(OutlastError, TimeoutError):
    """The instance had not ended in time. It goes on; call `result()` again to wait longer.

    Attributes:
        id: The instance.
        status: Its status when the time ran out, or None if that is unknown.
    """

    def __init__(self, id: str, timeout_s: float, status: str | None) -> None:
        super().__init__(f"instance {id} had not ended after {timeout_s:g} s (status: {status or 'unknown'})")
        self.id = id
        self.status = status


class StepTimeout(OutlastError, TimeoutError):
    """A step ran longer than its `timeout`."""


class StoreError(OutlastError):
    """The database's trouble. The message carries what it said, without secrets."""


class StoreUnavailable(StoreError, ConnectionError):
    """The database cannot be reached, or the connection was lost."""


class StoreReadOnly(StoreError):
    """The database or this role refuses writes."""


class StoreFull(StoreError):
    """No space is left. Nothing of the refused transaction was stored."""


class StoreCorrupt(StoreError):
    """The file is not a sound database of ours."""


class SchemaError(StoreError):
    """The tables are missing, older, or newer than this release. `outlast migrate` mends the first two."""


_WORD_MAX = 200


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A closing phrase for an error: the nearest known word, or the list of known words.

    The word is whatever came in its place: what is no text, or far too long, is near to nothing.
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1) if isinstance(word, str) and len(word) <= _WORD_MAX else []
    if near:
        return f"; did you mean {near[0]!r}?"
    return f" (known: {', '.join(repr(name) for name in names)})" if names else ""
