"""The steps that a workflow has called: recalled from the journal, or run now, with their retries."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

from outlast._kernel.backoff import checked_delay_s
from outlast._kernel.failures import failure_text
from outlast._kernel.program import DOING, Activation
from outlast.errors import StepTimeout
from outlast.workflows.book import Book
from outlast.workflows.recall import failure_of
from outlast.workflows.steps import Step


class Call:
    """A step that was called."""

    __slots__ = ("args", "attempt", "due_at", "future", "key", "kwargs", "number", "step", "task")

    def __init__(self, key: str, step: Step[Any, Any], args: Any, kwargs: Any, future: asyncio.Future[Any]) -> None:
        self.key = key
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.attempt = 0
        self.number = 0
        self.due_at: float | None = None
        self.task: asyncio.Task[None] | None = None


class Calls:
    """Runs steps on the real loop and puts down what comes of them.

    Attributes:
        running: Steps that run now.
        undoable: Steps that have succeeded and can be undone, with their results, by key.
    """

    def __init__(self, activation: Activation, book: Book) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.undoable: dict[str, tuple[Call, Any]] = {}
        self._activation = activation
        self._book = book
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Call] = []

    def add(self, call: Call) -> None:
        """A step was called: its recorded result is given at once; otherwise it runs in a moment, or when it is due."""
        note = self._book.notes.get(call.key)
        if note is not None and note.status in ("done", "failed"):
            call.number = note.number
            self._answer(call, note.status, note.value, note.error)
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
                call.task = self._loop.create_task(self._execute(call))
                self.running.add(call.task)
                call.task.add_done_callback(self._over)

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
        began = self._loop.time()
        try:
            value = await self._attempt(call)
            text = call.step.signature.encode_result(value)
        except Exception as error:
            self._failed(call, error, self._loop.time() - began)
            return
        entry = self._book.entry(
            call.key, "step", "done", call.attempt, value=text, duration_s=self._loop.time() - began
        )
        call.number = entry.number
        self._book.put(entry, lambda: self._answer(call, "done", text, None))

    async def _attempt(self, call: Call) -> Any:
        step = call.step
        limit = asyncio.timeout(step.timeout_s)
        try:
            async with limit:
                if step.is_async:
                    return await step.function(*call.args, **call.kwargs)
                answer = await self._activation.in_thread(functools.partial(step.function, *call.args, **call.kwargs))
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeout(f"the step ran longer than its timeout of {step.timeout_s:g} s") from error

    def _failed(self, call: Call, error: Exception, duration_s: float) -> None:
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
                book.put(book.entry(call.key, "step", "retrying", call.attempt, **columns))
                return
        entry = book.entry(call.key, "step", "failed", call.attempt, error=text, duration_s=duration_s)
        book.put(entry, lambda: self._answer(call, "failed", None, text))

    def _answer(self, call: Call, status: str, value: str | None, error: str | None) -> None:
        """Gives what was recorded to the code that waits for it: read back, so that a later run gets the same."""
        if status == "failed":
            if not call.future.done():
                call.future.set_exception(failure_of(call.step.outlast_step_name, error))
            return
        result = call.step.signature.read_result(value or "null")
        if call.step.outlast_compensate is not None:
            self.undoable[call.key] = (call, result)
        if not call.future.done():
            call.future.set_result(result)

    def newest_first(self) -> list[tuple[Call, Any]]:
        """What can be undone, with its results, the newest first."""
        return sorted(self.undoable.values(), key=lambda done: done[0].number, reverse=True)

    async def close(self) -> None:
        """Stops what runs."""
        tasks = list(self.running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
