"""The steps that a workflow has called: recalled from the journal, or run now, with their retries."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from outlast._kernel.backoff import checked_delay_s
from outlast._kernel.failures import failure_text
from outlast._kernel.program import DOING, Activation
from outlast._model import Entry
from outlast.errors import ArgumentError, EncodingError, StepTimeout
from outlast.workflows.book import Book
from outlast.workflows.current import STEP, result_text
from outlast.workflows.recall import failure_of
from outlast.workflows.steps import Step

_UNCHANGING: Final = (str, int, float, bool, bytes, type(None))


class Call:
    """A step that was called. When it is called itself, it tells the workflow's code what was recorded."""

    __slots__ = (
        "args",
        "attempt",
        "due_at",
        "error",
        "failure",
        "future",
        "key",
        "kwargs",
        "number",
        "place",
        "status",
        "step",
        "task",
        "text",
        "undoable",
    )

    def __init__(self, key: str, step: Step[Any, Any], args: Any, kwargs: Any, future: asyncio.Future[Any]) -> None:
        self.key = key
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.attempt = 0
        self.number = 0
        self.place = 0  # in the order in which steps were called that were not recorded.
        self.status = ""  # what was recorded: `done` or `failed`, with the result's text or the error's.
        self.text = "null"
        self.error: str | None = None
        self.undoable: dict[str, Call] | None = None  # where it is to be found once it has succeeded.
        self.due_at: float | None = None
        self.failure: Entry | None = None  # of the attempt before, made by this very claim.
        self.task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        """Gives what was recorded to the code that waits for it: read back, so that a later run gets the same."""
        undoable, self.undoable = self.undoable, None
        if self.status == "failed":
            if not self.future.done():
                self.future.set_exception(failure_of(self.step.outlast_step_name, self.error))
            return
        if undoable is not None:
            undoable[self.key] = self
        if not self.future.done():
            self.future.set_result(self.step.signature.read_result(self.text))


class Calls:
    """Runs steps on the real loop and puts down what comes of them.

    Attributes:
        running: Steps that run now.
        undoable: Steps that have succeeded and can be undone, by key.
    """

    def __init__(self, activation: Activation, book: Book) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.undoable: dict[str, Call] = {}
        self._activation = activation
        self._book = book
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Call] = []
        self._called = 0

    def add(self, call: Call) -> None:
        """A step was called: its recorded result is told in its turn; otherwise it runs, now or when it is due."""
        if call.step.outlast_compensate is not None:
            call.undoable = self.undoable
        note = self._book.notes.get(call.key)
        if note is not None and note.status in ("done", "failed"):
            call.number, call.status, call.text, call.error = note.number, note.status, note.value or "null", note.error
            self._book.recall(note.number, call)
            return
        if note is not None:
            call.attempt = note.attempt
            call.due_at = None if note.left_s is None else self._loop.time() + note.left_s
        self._called += 1
        call.place = self._called
        self._waiting.append(call)

    def give_up(self, call: Call) -> None:
        """Nobody waits for it any more: it is stopped, or not begun."""
        if call.task is not None:
            call.task.cancel()
        if call in self._waiting:
            self._waiting.remove(call)

    @property
    def waiting(self) -> Sequence[Call]:
        """Steps that wait to be begun, or for their next attempt."""
        return self._waiting

    def move(self, activation: Activation) -> None:
        """Belongs to another activation from now on. Steps wait in the order in which a run from the beginning calls
        them."""
        self._activation = activation
        self._waiting.sort(key=lambda call: call.place)
        for call in self._waiting:
            call.failure = None  # its park was a commit.

    def due(self) -> list[float]:
        """When steps that wait for their next attempt are due, on the real loop's clock."""
        return [call.due_at for call in self._waiting if call.due_at is not None]

    def begin(self) -> None:
        """Begins the steps that were called and whose time has come."""
        if not self._waiting:
            return
        now = self._loop.time()
        for call in list(self._waiting):
            if call.due_at is None or call.due_at <= now:
                self._waiting.remove(call)
                if call.failure is not None:
                    self._look_again(call, call.failure)
                    continue
                call.task = self._loop.create_task(self._execute(call))
                self.running.add(call.task)
                call.task.add_done_callback(self._over)

    def _look_again(self, call: Call, failure: Entry) -> None:
        """Another attempt begins only after a commit: it tells whether the claim is ours still, and not paused."""
        call.failure, call.due_at, failure.wake_s = None, None, 0.0
        self._book.put(failure, lambda: None if call.future.done() else self._waiting.append(call))

    @property
    def is_alone(self) -> bool:
        """Whether one step is to begin, and nothing else goes on."""
        waiting = self._waiting
        return len(waiting) == 1 and not self.running and waiting[0].due_at is None and not self._book.has_results

    def begin_alone(self) -> Awaitable[None] | None:
        """Begins the only step that was called. The rest, to be awaited, or None: it is over.

        Nobody can give it up meanwhile: the workflow's code waits for it, and does not run.
        """
        return self._activation.begin(self._execute(self._waiting.pop()))

    def _over(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._book.fault(error)
        self._book.news.set()

    async def _execute(self, call: Call) -> None:
        if not self._activation.may_begin():  # it may have come to be so since this task was made.
            self._waiting.append(call)
            self._book.news.set()
            return
        place = (call.key, call.attempt)
        DOING.set(place)  # in a task of its own: nobody has to take it back.
        STEP.set((self._activation.claim, place))
        began, step = self._loop.time(), call.step
        try:
            if step.is_async and step.timeout_s is None:  # most often.
                args, kwargs = _copied(call)
                value = await step.function(*args, **kwargs)
            else:
                value = await self._attempt(call)
            text = self._written(call, value)
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a step are its failures, not ours.
            if _is_from_outside(error):
                raise
            self._failed(call, error, self._loop.time() - began)
            return
        entry = self._book.entry(
            call.key, "step", "done", call.attempt, value=text, duration_s=self._loop.time() - began
        )
        call.number, call.status, call.text = entry.number, "done", text
        self._book.put(entry, call)

    def _written(self, call: Call, value: Any) -> str:
        step = call.step
        return result_text(step.outlast_step_name, step.signature, value, self._activation.bytes_max)

    async def _attempt(self, call: Call) -> Any:
        step = call.step
        args, kwargs = _copied(call)
        if step.timeout_s is None:
            return await self._run(step, args, kwargs)
        limit = asyncio.timeout(step.timeout_s)
        try:
            async with limit:
                return await self._run(step, args, kwargs)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeout(f"the step ran longer than its timeout of {step.timeout_s:g} s") from error

    async def _run(self, step: Step[Any, Any], args: Any, kwargs: Any) -> Any:
        if step.is_async:
            return await step.function(*args, **kwargs)
        answer = await self._activation.in_thread(functools.partial(step.function, *args, **kwargs))
        return await answer if inspect.isawaitable(answer) else answer

    def _failed(self, call: Call, error: BaseException, duration_s: float) -> None:
        text, book = failure_text(error), self._book
        call.attempt += 1
        if call.attempt < call.step.max_attempts:
            try:
                delay_s = checked_delay_s(call.step.backoff, call.attempt, self._activation.dice)
            except Exception as second:  # the user's own backoff: its fault ends the step, visibly.
                text = failure_text(second)
            else:
                call.due_at, call.task = self._loop.time() + delay_s, None
                self._waiting.append(call)
                call.failure = book.entry(
                    call.key, "step", "retrying", call.attempt, error=text, duration_s=duration_s, wake_s=delay_s
                )
                book.put(call.failure)
                return
        entry = book.entry(call.key, "step", "failed", call.attempt, error=text, duration_s=duration_s)
        call.status, call.error = "failed", text
        book.put(entry, call)

    def answer(self, call: Call, status: str, value: str | None, error: str | None) -> None:
        """Gives what was recorded of a step that ran elsewhere to the code that waits for it."""
        if call.step.outlast_compensate is not None:
            call.undoable = self.undoable
        call.status, call.text, call.error = status, value or "null", error
        call()

    def newest_first(self) -> list[Call]:
        """What can be undone, the newest first."""
        return sorted(self.undoable.values(), key=lambda call: call.number, reverse=True)

    async def stop(self) -> None:
        """Stops what runs, and forgets what has not begun."""
        self._waiting.clear()
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _is_from_outside(error: BaseException) -> bool:
    """Whether somebody stops the step, or throws its coroutine away; else the error is its own code's."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs any more.
        return True
    if isinstance(error, GeneratorExit):
        return task is None
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _copied(call: Call) -> tuple[Any, Any]:
    """The arguments as a step may change them: copies, where they can be stored. A later run would see no change."""
    args, kwargs = call.args, call.kwargs
    for value in (*args, *kwargs.values()) if kwargs else args:
        if not isinstance(value, _UNCHANGING):
            break
    else:
        return args, kwargs
    signature = call.step.signature
    try:
        return (), signature.decode(signature.encode(args, kwargs))
    except (ArgumentError, EncodingError):
        return args, kwargs
