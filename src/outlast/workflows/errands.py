"""Errands: steps that run elsewhere, on another queue or under limits of their own, as instances of their own.

The workflow is parked with the errand's row in the same transaction, and wakes when the errand has ended, as for a
child. What came of it is recorded under the step's key: from there on it is a step like any other.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from outlast._codec import decode_any, encode
from outlast._kernel.backoff import Backoff, checked_delay_s
from outlast._kernel.failures import failure_text, reason_text
from outlast._kernel.outcomes import Again, Failed, Finished, Outcome, Unreadable
from outlast._kernel.program import DOING, ERRAND, Activation
from outlast._kernel.requests import LimitName, StartOptions, StartRequest, checked_weight, limit_text
from outlast._kernel.signatures import Signature
from outlast._model import Letter, NewInstance
from outlast.config import checked_name
from outlast.errors import ConfigError, EncodingError
from outlast.workflows.book import Book
from outlast.workflows.children import ENDED
from outlast.workflows.current import STEP, StepInfo, result_text
from outlast.workflows.waiting import Wait

LimitOfStep = LimitName | Callable[..., LimitName | None]
"""A limit, or a function of the step's arguments that gives one, or None."""
GIVEN_UP: Final = "its workflow waits for it no longer"
ROUNDS_FROM: Final = 2**30
"""Errands are of later rounds than the children that a workflow calls: these begin a new one with some retries."""
PREFIX: Final = "step:"
"""What the names of errands' programs begin with; the step's name follows."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a step runs, and who must let it through.

    Attributes:
        queue: None: in the workflow's own.
        concurrency_key, rate_limit: Texts as the row stores them, or functions of the step's arguments.
        weight: Tokens that each attempt takes from the rate limit.
    """

    queue: str | None
    concurrency_key: str | Callable[..., Any] | None
    rate_limit: str | Callable[..., Any] | None
    weight: float


def where(
    on: str | None, concurrency_key: LimitOfStep | None, rate_limit: LimitOfStep | None, weight: float
) -> Where | None:
    """What `@step(...)` says of it, checked; None: it runs where its workflow runs. Raises: ConfigError."""
    if on is None and concurrency_key is None and rate_limit is None:
        if weight != 1.0:
            raise ConfigError("a step's weight is what it takes from its rate limit: give rate_limit, too")
        return None
    return Where(
        None if on is None else checked_name(on, what="on, a step's queue,"),
        _limit(concurrency_key, "a step's concurrency_key"),
        _limit(rate_limit, "a step's rate_limit"),
        checked_weight(weight, what="a step's weight"),
    )


def _limit(value: Any, what: str) -> str | Callable[..., Any] | None:
    return value if value is None or callable(value) else limit_text(value, what=what)


class Doable(Protocol):
    """A step, as far as its errands must know it."""

    outlast_step_name: str
    function: Callable[..., Any]
    signature: Signature
    max_attempts: int
    backoff: Backoff | Callable[[int], float | timedelta]
    timeout_s: float | None
    is_async: bool


class ErrandProgram:
    """A step as a program: what the node that serves its queue must know.

    Attributes:
        name, version, queue: Its identity in the database.
        timeout_s: Seconds that one attempt may take, or None.
        where: What must let it through.
    """

    version = 1
    told_apart_by = "@step(name=...)"

    def __init__(self, step: Doable, where: Where) -> None:
        self.name = f"{PREFIX}{step.outlast_step_name}"
        self.where = where
        self.queue = where.queue or "default"
        self.timeout_s = step.timeout_s
        self.source = f"{step.function.__module__}.{step.function.__qualname__}"
        self._step = step

    def state(self, program: str, key: str, args: Any, kwargs: Any) -> str:
        """What an errand is told. Raises: ArgumentError, EncodingError."""
        arguments = decode_any(self._step.signature.encode(tuple(args), dict(kwargs)))
        return encode({"program": program, "key": key, "arguments": arguments}, what="an errand")

    async def run(self, activation: Activation) -> Outcome:
        """Runs the step once. What it returns is written as where it runs in its workflow."""
        claim, step = activation.claim, self._step
        try:
            told = read_errand(claim.state)
            arguments = step.signature.decode(encode(told["arguments"], what="an errand's arguments"))
        except EncodingError as error:
            return Unreadable(failure_text(error))
        DOING.set((told["key"], claim.attempt))
        STEP.set(StepInfo(claim.parent or claim.id, told["program"], told["key"], claim.attempt))
        call = functools.partial(step.function, **arguments)
        answer = await (call() if step.is_async else activation.in_thread(call))
        if not step.is_async and inspect.isawaitable(answer):
            answer = await answer
        return Finished(result_text(step.outlast_step_name, step.signature, answer, activation.bytes_max))

    async def failed(self, activation: Activation, error: BaseException) -> Outcome:
        """Another attempt after the backoff, as long as there are any."""
        text, attempt = failure_text(error), activation.claim.attempt + 1
        if attempt >= self._step.max_attempts:
            return Failed(text)
        try:
            return Again(checked_delay_s(self._step.backoff, attempt, activation.dice), text)
        except Exception as second:  # the user's own backoff: its fault ends the step, visibly.
            return Failed(failure_text(second))

    def read_result(self, text: str) -> Any:
        """A stored result, typed; plain data where it does not fit."""
        return self._step.signature.read_result(text)

    def retention_s(self, default_s: float | None) -> float | None:
        """It goes with its workflow in any case, and not before."""
        return default_s

    def __repr__(self) -> str:
        return f"<program {self.name!r}>"


def read_errand(state: str) -> dict[str, Any]:
    """What an errand was told: `program`, `key` and `arguments`. Raises: EncodingError."""
    told = decode_any(state)
    if not isinstance(told, dict) or not {"program", "key", "arguments"} <= told.keys():
        raise EncodingError("an errand's state names its workflow's program, the step's key and the arguments")
    return told


class Called(Protocol):
    """A step that a workflow has called."""

    key: str
    step: Any
    args: Any
    kwargs: Any
    number: int
    future: asyncio.Future[Any]


Answer = Callable[[Any, str, str | None, str | None], None]
"""Gives the workflow's code what was recorded for a call: its status, value and error."""


class ErrandWait(Wait):
    """For the end of an errand.

    Attributes:
        errand: Its id.
    """

    kind = "step"

    def __init__(self, call: Called, errand: str, answer: Answer) -> None:
        super().__init__(call.key, (f"{ENDED}{errand}",), None, None)
        self.errand = errand
        self.future = call.future
        self._call = call
        self._answer = answer

    def match(self, inbox: Sequence[Letter]) -> tuple[Any, list[str]] | None:
        """How it ended."""
        for letter in inbox:
            if letter.name in self.names:
                return decode_any(letter.payload), [letter.id]
        return None

    def over(self, book: Book, value: Any) -> tuple[Any, Callable[[], None]]:
        """A step that is over is recorded, whoever ran it."""
        call, answer = self._call, self._answer
        columns = {"attempt": value.get("attempt") or 0, "duration_s": value.get("duration_s")}
        if value["status"] == "done":
            text = encode(value["result"], what="an errand's result")
            entry = book.entry(call.key, "step", "done", value=text, **columns)
            call.number = entry.number
            return entry, lambda: answer(call, "done", text, None)
        error = encode(value["error"] or {}, what="an error")
        entry = book.entry(call.key, "step", "failed", error=error, **columns)
        return entry, lambda: answer(call, "failed", None, error)


class Errands:
    """The errands of one workflow while it runs.

    Args:
        abandoned: Where the ids of those are put that are to be cancelled.
    """

    def __init__(self, activation: Activation, book: Book, answer: Answer, abandoned: list[str]) -> None:
        self._activation = activation
        self._book = book
        self._answer = answer
        self._abandoned = abandoned

    def move(self, activation: Activation) -> None:
        """Belongs to another activation from now on."""
        self._activation = activation

    def takes(self, call: Called) -> bool:
        """Whether this call is an errand's, and not over yet. One that is out stays one, whatever the code says now."""
        note = self._book.notes.get(call.key)
        if note is None or note.status == "retrying":
            return call.step.outlast_program is not None
        return note.status == "waiting"

    def begin(self, call: Called, *, sends: bool) -> ErrandWait | None:
        """The wait for a call's errand, which is sent unless it was in an earlier run.

        None: nothing new is to begin (`sends` is false), or it could not be sent, and the call has failed.
        """
        note, answer = self._book.notes.get(call.key), self._answer
        if note is not None and note.status == "waiting":
            return ErrandWait(call, decode_any(note.value or "{}")["id"], answer)
        if not sends:
            return None
        try:
            row = self._row(call)
        except Exception as error:  # of arguments that cannot be stored, or of the user's own function for a limit.
            text = failure_text(error)
            entry = self._book.entry(call.key, "step", "failed", 1, error=text)
            self._book.put(entry, lambda: answer(call, "failed", None, text))
            return None
        shown = encode({"id": row.id, "program": row.program, "queue": row.queue}, what="an errand")
        self._book.put(self._book.entry(call.key, "step", "waiting", value=shown), started=row)
        return ErrandWait(call, row.id, answer)

    def give_up(self, wait: Wait) -> None:
        """Nobody waits for it any more: it is not sent, or it is cancelled, and recorded as that."""
        if isinstance(wait, ErrandWait) and not self._book.withdraw(wait.key):
            self._abandoned.append(wait.errand)
            error = reason_text(GIVEN_UP, kind="Cancel")
            self._book.put(self._book.entry(wait.key, "step", "failed", error=error))

    def _row(self, call: Called) -> NewInstance:
        program, claim = call.step.outlast_program, self._activation.claim
        place: Where = program.where
        options = StartOptions(
            queue=place.queue or self._activation.queue,
            priority=claim.priority,
            concurrency_key=_chosen(place.concurrency_key, call, "a step's concurrency_key"),
            rate_limit=_chosen(place.rate_limit, call, "a step's rate_limit"),
            rate_weight=place.weight,
        )
        state = program.state(claim.program, call.key, call.args, call.kwargs)
        request = StartRequest(program, ERRAND, state, program.read_result)
        row = self._activation.new_instance(request, options, anywhere=True)
        # An errand that is sent anew, after a retry, must be another one.
        row.parent, row.round, row.child = claim.id, ROUNDS_FROM + claim.epoch, self._book.number(call.key)
        return row

    async def stop(self, waits: Iterable[Wait]) -> None:
        """Ends the errands that are out. Those that had ended by then are recorded: they may have to be undone."""
        out = [wait for wait in waits if isinstance(wait, ErrandWait)]
        if not out:
            return
        await self._book.settled()  # nobody can cancel what is just being inserted.
        sent = [wait for wait in out if not self._book.withdraw(wait.key)]
        for wait in sent:
            await self._activation.cancel(wait.errand, GIVEN_UP)
        inbox = await self._activation.inbox() if sent else ()
        for wait in sent:
            if (found := wait.match(inbox)) is not None:
                value, used = found
                entry, tell = wait.over(self._book, value)
                self._book.put(entry, tell if value["status"] == "done" else None, tuple(used))


def _chosen(limit: Any, call: Called, what: str) -> str | None:
    """A limit as the row stores it, of a call's arguments where it depends on them. Raises: ConfigError."""
    if not callable(limit):
        return limit  # type: ignore[no-any-return]
    found = limit(*call.args, **call.kwargs)
    return None if found is None else limit_text(found, what=what)
