"""The steps that a workflow has called: recalled from the journal, or run now, with their retries."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any, Final

from outlast._kernel.backoff import checked_delay_s
from outlast._kernel.failures import failure_text
from outlast._kernel.outcomes import Await, Cancel, Done, Next, Retry, Spawn, Stop
from outlast._kernel.program import DOING, Activation
from outlast._model import Entry
from outlast.errors import ArgumentError, EncodingError, StepTimeout, ValueTooLarge, WorkflowError
from outlast.workflows.book import Book
from outlast.workflows.recall import failure_of
from outlast.workflows.steps import STEP, Step, StepInfo

OUTCOMES: Final = (Await, Cancel, Done, Next, Retry, Spawn, Stop)
_UNCHANGING: Final = (str, int, float, bool, bytes, type(None))


class Call:
    """A step that was called."""

    __slots__ = ("args", "attempt", "due_at", "failure", "future", "key", "kwargs", "number", "step", "task", "text")

    def __init__(self, key: str, step: Step[Any, Any], args: Any, kwargs: Any, future: asyncio.Future[Any]) -> None:
        self.key = key
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.attempt = 0
        self.number = 0
        self.text = "null"  # its result, as it was recorded.
        self.due_at: float | None = None
        self.failure: Entry | None = None  # of the attempt before, made by this very claim.
        self.task: asyncio.Task[None] | None = None


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

    def add(self, call: Call) -> None:
        """A step was called: its recorded result is told in its turn; otherwise it runs, now or when it is due."""
        note = self._book.notes.get(call.key)
        if note is not None and note.status in ("done", "failed"):
            call.number = note.number
            status, value, error = note.status, note.value, note.error
            self._book.recall(note.number, lambda: self._answer(call, status, value, error))
            return
        if note is not None:
            call.attempt = note.attempt
            call.due_at = None if note.left_s is None else self._loop.time() + note.left_s
        self._waiting.append(call)

    def give_up(self, call: Call) -> None:
        """Nobody waits for it any more: it is stopped, or not begun."""
        if call.task is not None:
            call.task.cancel()
        if call in self._waiting:
            self._waiting.remove(call)

    @property
    def waiting(self) -> bool:
        """Whether steps wait to be begun, or for their next attempt."""
        return bool(self._waiting)

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

    async def run_alone(self) -> bool:
        """Runs the only step that was called, when nothing else runs, to its end. Whether there was one."""
        if len(self._waiting) != 1 or self.running or self._waiting[0].due_at is not None or self._book.has_results:
            return False
        call = self._waiting.pop()
        call.task = self._loop.create_task(self._execute(call))
        await call.task
        return True

    def _over(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._book.fault(error)
        self._book.news.set()

    async def _execute(self, call: Call) -> None:
        DOING.set((call.key, call.attempt))  # in a task of its own: nobody has to take it back.
        claim = self._activation.claim
        STEP.set(StepInfo(claim.id, claim.program, call.key, call.attempt))
        began = self._loop.time()
        try:
            text = self._written(call, await self._attempt(call))
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a step are its failures, not ours.
            if _is_from_outside(error):
                raise
            self._failed(call, error, self._loop.time() - began)
            return
        entry = self._book.entry(
            call.key, "step", "done", call.attempt, value=text, duration_s=self._loop.time() - began
        )
        call.number = entry.number
        self._book.put(entry, lambda: self._answer(call, "done", text, None))

    def _written(self, call: Call, value: Any) -> str:
        if isinstance(value, OUTCOMES):
            raise WorkflowError(
                f"step {call.step.outlast_step_name!r} returned {type(value).__name__}, an outcome of jobs and "
                "machines: a workflow's step returns its result, or raises"
            )
        text, most = call.step.signature.encode_result(value), self._activation.bytes_max
        if len(text) > most // 4 and (size := len(text.encode())) > most:
            raise ValueTooLarge(f"the result of step {call.step.outlast_step_name!r}", size, most)
        return text

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
                columns = {"error": text, "duration_s": duration_s, "wake_s": delay_s}
                call.failure = book.entry(call.key, "step", "retrying", call.attempt, **columns)
                book.put(call.failure)
                return
        entry = book.entry(call.key, "step", "failed", call.attempt, error=text, duration_s=duration_s)
        book.put(entry, lambda: self._answer(call, "failed", None, text))

    def _answer(self, call: Call, status: str, value: str | None, error: str | None) -> None:
        """Gives what was recorded to the code that waits for it: read back, so that a later run gets the same."""
        if status == "failed":
            if not call.future.done():
                call.future.set_exception(failure_of(call.step.outlast_step_name, error))
            return
        call.text = value or "null"
        if call.step.outlast_compensate is not None:
            self.undoable[call.key] = call
        if not call.future.done():
            call.future.set_result(call.step.signature.read_result(call.text))

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
    if all(isinstance(value, _UNCHANGING) for value in (*args, *kwargs.values())):
        return args, kwargs
    signature = call.step.signature
    try:
        return (), signature.decode(signature.encode(args, kwargs))
    except (ArgumentError, EncodingError):
        return args, kwargs
