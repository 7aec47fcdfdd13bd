"""A workflow's activation: runs its code as far as it comes, records what it does, and parks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextvars import Context
from datetime import datetime
from typing import Any, Final

from outlast._codec import decode_any, encode
from outlast._kernel.failures import failure_text
from outlast._kernel.outcomes import Failed, Finished, Outcome, Parked
from outlast._kernel.program import Activation
from outlast._kernel.requests import StartOptions, StartRequest
from outlast._kernel.states import COMPENSATED, COMPENSATION_FAILED
from outlast._kernel.tags import refuse_many
from outlast._model import TAGS, Letter, NewInstance
from outlast.errors import StepFailed, ValueTooLarge, WorkflowError, WorkflowTimeout
from outlast.workflows.book import Book
from outlast.workflows.calls import Call, Calls
from outlast.workflows.children import ChildWait, started_as
from outlast.workflows.current import OUTCOMES
from outlast.workflows.errands import Errands
from outlast.workflows.loop import BRANCH, FlowLoop, Suspended
from outlast.workflows.people import InputWait
from outlast.workflows.residents import Residence
from outlast.workflows.steps import Step
from outlast.workflows.uncalled import Uncalled
from outlast.workflows.waiting import Wait

LIFETIME: Final = "~timeout"
"""The key under which a workflow's own timeout is recorded."""
FAILURE: Final = "~failure"
"""The key under which is recorded that a workflow has failed and is being undone: it never goes forward again."""
UNDO: Final = "~undo/"
"""What keys of compensations begin with."""
_NO_KWARGS: Final[dict[str, Any]] = {}
LOOK_S: Final = 0.5
"""Seconds between looks for signals while steps of other branches run."""


class Flow:
    """Runs a workflow's code once: from its beginning, and, where it stays in memory, on from each of its waits.

    Args:
        body: Makes the coroutine of the workflow's function.
        write: Makes JSON text of its result.
        lifetime_s: Seconds that the workflow may take in all, or None.
    """

    def __init__(
        self,
        activation: Activation,
        body: Callable[[], Coroutine[Any, Any, Any]],
        write: Callable[[Any], str],
        lifetime_s: float | None,
    ) -> None:
        self._activation = activation
        self._body = body
        self._write = write
        self._lifetime_s = lifetime_s
        self._real = asyncio.get_running_loop()
        self._loop = FlowLoop(self)  # type: ignore[abstract]
        self._inbox: list[Letter] = list(activation.claim.letters)
        self._used: set[str] = set()
        self._waits: dict[str, Wait] = {}
        self._book = Book(activation)
        self._calls = Calls(activation, self._book)
        self._uncalled = Uncalled(activation, self._book)
        self._abandoned: list[str] = []
        self._errands = Errands(activation, self._book, self._calls.answer, self._abandoned)
        self._life: Wait | None = None
        self._doom: str | None = None
        self._closing = False
        self._tag_names: set[str] = set()
        self._main: asyncio.Task[Any] | None = None

    async def run(self) -> Outcome:
        """Runs until the code has ended or waits for what is not here."""
        stays = False
        try:
            if self._main is None:
                self._look_back()
                body = self._body
                del self._body  # its arguments are the coroutine's from here on.
                self._main = self._loop.begin(body())
                del body
            try:
                main = await self._drive(self._main)
            except _Doomed as doomed:
                return await self._fail(doomed.text)
            if isinstance(main, Parked):
                stays = self._stay()
                return main
            error = _error_of(main) if main.done() else None
            if self._doom is not None:
                return await self._fail(self._doom)
            if error is None:
                try:
                    text = self._result(main.result())
                except Exception as second:  # it cannot be stored.
                    error = second
                else:
                    await self._errands.stop(self._waits.values())
                    self._uncalled.tell("done")
                    return Finished(text, entries=self._book.left())
            return await self._fail(_text_of(error))
        finally:
            if not stays:
                await self._close()

    def _look_back(self) -> None:
        """What was decided before: that it has failed, or that its time is up."""
        if (note := self._book.notes.get(FAILURE)) is not None:
            self._doom = note.error
        elif self._lifetime_s is not None:
            self._life = Wait(LIFETIME, (), self._lifetime_s, None)
            self._life.kind = "timeout"
            self._begin_wait(self._life)
            del self._waits[LIFETIME]
            self._look_at_life()

    def _result(self, value: Any) -> str:
        if isinstance(value, OUTCOMES):
            raise WorkflowError(
                f"the workflow returned {type(value).__name__}, an outcome of jobs and machines: "
                "a workflow returns its result, or raises"
            )
        text, most = self._write(value), self._activation.bytes_max
        if len(text) > most // 4 and (size := len(text.encode())) > most:
            raise ValueTooLarge("the workflow's result", size, most)
        return text

    async def _fail(self, text: str) -> Outcome:
        """What was done is undone, if there is anything to undo, and the error is kept.

        Branches that still run are ended first: what they do then would be undone by nobody.
        """
        self._life, self._doom = None, text
        await self._end_branches()
        self._uncalled.tell("failed", again=FAILURE not in self._book.notes)
        if not self._calls.undoable:
            return Failed(text, entries=self._book.left())
        if FAILURE not in self._book.notes:
            self._book.put(self._book.entry(FAILURE, "failure", "failed", error=text))
            await self._book.write()
        if isinstance(undo := await self._drive(self._loop.begin(self._compensate()), undoes=True), Parked):
            return undo
        return Failed(text, entries=self._book.left(), status=undo.result())

    async def _end_branches(self) -> None:
        self._closing = True
        self._loop.close_tasks()
        await self._calls.stop()
        await self._errands.stop(self._waits.values())
        self._waits.clear()
        if self._book.has_results:
            await self._book.write()
        while self._book.tell_next():
            pass
        self._closing = False

    async def _drive(self, main: asyncio.Task[Any], *, undoes: bool = False) -> asyncio.Task[Any] | Parked:
        """Runs a coroutine of the workflow until it is over (its task), or nothing goes on (the park).

        Where it has failed already, only until it would do something that is not recorded.
        """
        while True:
            self._loop.turn()
            if self._book.tell_next():
                continue
            if self._doom is not None and not undoes:
                return main
            if self._activation.stopping:
                if not self._calls.running and not self._book.has_results:
                    await self._book.write()  # what did not succeed is recorded, too.
                    self._activation.let_go()
            elif self._waits or self._life is not None or not self._calls.is_alone:
                self._calls.begin()
            elif (rest := self._calls.begin_alone()) is not None:
                await rest
            self._book.raise_fault()
            if self._abandoned:
                await self._book.settled()  # nobody can cancel what is just being inserted.
            while self._abandoned:  # before that is recorded: cancelling twice harms nobody.
                await self._activation.cancel(self._abandoned.pop(), "its parent waits for it no longer")
            if self._book.has_results and not self._calls.running:
                await self._book.write()
                continue
            if not self._book.has_results:
                if main.done():
                    return main
                if not self._calls.running and not self._activation.stopping:
                    wake_s = self._next_s()
                    if wake_s is None or wake_s > 0:
                        return self._park(wake_s)
            self._book.write_soon()
            await self._wait_for_news()
            await self._look_at_time()

    async def _wait_for_news(self) -> None:
        """Waits until a step is over, something is recorded, or a time has come."""
        wait_s = self._next_s()
        looks = self._calls.running and any(wait.names for wait in self._waits.values())
        if looks:
            wait_s = LOOK_S if wait_s is None else min(LOOK_S, wait_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._book.news.wait()
        except TimeoutError:
            if looks:
                self._take_letters(await self._activation.inbox())
        self._book.news.clear()

    # What the workflow's code asks for: these run on its own loop.

    def key(self, name: str) -> str:
        """The key of the next thing of this name in the branch that runs now."""
        if self._closing:
            raise Suspended
        key = BRANCH.get().key(name)
        self._uncalled.left.discard(key)
        return key

    def call(self, step: Step[Any, Any], args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        """A step was called: its key is taken now, whenever it is awaited."""
        return self._called(self.key(step.outlast_step_name), step, args, kwargs or _NO_KWARGS)

    async def _called(self, key: str, step: Step[Any, Any], args: Any, kwargs: Any) -> Any:
        call = Call(key, step, args, kwargs, self._loop.create_future())
        if self._errands.takes(call):
            goes_on = self._doom is None or key.startswith(UNDO)
            self._expect(self._errands.begin(call, sends=goes_on and not self._activation.stopping))
        else:
            self._calls.add(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            self._calls.give_up(call)
            if (wait := self._waits.pop(key, None)) is not None:
                self._errands.give_up(wait)
            raise

    def _expect(self, wait: Wait | None) -> None:
        """What is recorded already, or about to be, is waited for."""
        if wait is None:
            return
        self._waits[wait.key] = wait
        if (found := wait.match(self._inbox)) is not None and (self._doom is None or wait.key.startswith(UNDO)):
            self._take(wait, *found)

    async def wait(self, wait: Wait, *, started: NewInstance | None = None) -> Any:
        """Something is waited for; with the wait `started` begins."""
        future = wait.future = self._loop.create_future()
        note = self._book.notes.get(wait.key)
        if note is not None and note.status == "done":
            self._book.recall(note.number, lambda: wait.give(note.value))
        else:
            self._begin_wait(wait, started)
            if (found := wait.match(self._inbox)) is not None and self._doom is None:
                self._take(wait, *found)
        try:
            return await future
        finally:
            self._waits.pop(wait.key, None)

    def refuse_second_input(self, name: str) -> None:
        """Raises: WorkflowError: an input of this name is waited for already."""
        if any(isinstance(wait, InputWait) and wait.request["name"] == name for wait in self._waits.values()):
            raise WorkflowError(f"an input called {name!r} is waited for already: give this one another name")

    def child(self, key: str, request: StartRequest[Any], options: StartOptions) -> tuple[str, NewInstance | None]:
        """The id of the child with this key, and its row where it is to be inserted."""
        note = self._book.notes.get(key)
        if note is not None:
            id: str = decode_any(note.value or "{}")["id"]
            return id, None
        row = self._activation.new_instance(request, options)
        row.parent, row.round = self._activation.claim.id, self._activation.claim.round + 1
        row.child = self._book.number(key)
        return row.id, row

    async def start_child(self, key: str, request: StartRequest[Any], options: StartOptions) -> str:
        """Starts a child for which nobody waits. Returns its id once it is durable."""
        id, row = self.child(key, request, options)
        future = self._loop.create_future()
        if row is None:
            self._book.recall(self._book.number(key), lambda: _set(future))
        elif self._doom is None:
            entry = self._book.entry(key, "child", "done", value=started_as(id, request.program.name))
            self._book.put(entry, lambda: _set(future), started=row)
        await future
        return id

    def report(self, fraction: float, note: str) -> None:
        """Shows how far the workflow is."""
        self._activation.report(fraction, note)

    async def set_tags(self, changes: dict[str, str | None]) -> None:
        """Records other tags of the instance."""
        self._tag_names.update(changes)
        refuse_many(len(self._tag_names))
        key, future = self.key(TAGS), self._loop.create_future()
        if (note := self._book.notes.get(key)) is not None:
            self._book.recall(note.number, lambda: _set(future))
        elif self._doom is None:
            entry = self._book.entry(key, TAGS, "done", value=encode(changes, what="tags"))
            self._book.put(entry, lambda: _set(future))
        await future

    def seconds_until(self, moment: datetime) -> float:
        """Seconds from now until an instant."""
        return self._activation.seconds_until(moment)

    # Waits.

    def _take_letters(self, letters: Sequence[Letter]) -> None:
        """Signals may have come while steps of other branches run."""
        known = {letter.id for letter in self._inbox} | self._used
        self._inbox += [letter for letter in letters if letter.id not in known]
        for wait in list(self._waits.values()):
            if (found := wait.match(self._inbox)) is not None:
                self._take(wait, *found)

    def _take(self, wait: Wait, value: Any, used: Sequence[str]) -> None:
        self._used.update(used)
        self._inbox = [letter for letter in self._inbox if letter.id not in used]
        self._end_wait(wait, value, tuple(used))

    def _begin_wait(self, wait: Wait, started: NewInstance | None = None) -> None:
        self._waits[wait.key] = wait
        note = self._book.notes.get(wait.key)
        if note is None:
            wait.due_at = None if wait.timeout_s is None else self._real.time() + wait.timeout_s
            if self._doom is None:
                entry = self._book.entry(wait.key, wait.kind, "waiting", value=wait.shown(), wake_s=wait.timeout_s)
                self._book.put(entry, started=started)
        elif note.left_s is not None:
            wait.due_at = self._real.time() + note.left_s

    def _end_wait(self, wait: Wait, value: Any, used: tuple[str, ...] = ()) -> None:
        self._waits.pop(wait.key, None)
        self._book.put(*wait.over(self._book, value), used)

    async def _look_at_time(self) -> None:
        due = [wait for wait in self._waits.values() if wait.due_at is not None and wait.due_at <= self._real.time()]
        if any(wait.names for wait in due):  # what has come meanwhile has come in time.
            self._take_letters(await self._activation.inbox())
        for wait in due:
            if wait.key in self._waits:
                if isinstance(wait, ChildWait):
                    self._abandoned.append(wait.child)
                self._end_wait(wait, wait.late())
        self._look_at_life()

    def _look_at_life(self) -> None:
        life = self._life
        if life is not None and life.due_at is not None and life.due_at <= self._real.time():
            self._life = None
            error = WorkflowTimeout(f"the workflow ran longer than its timeout of {self._lifetime_s:g} s")
            self._doom = failure_text(error)

    def _next_s(self) -> float | None:
        """Seconds until something is to be looked at in any case; None: never."""
        waits = [*self._waits.values()] if self._life is None else [*self._waits.values(), self._life]
        moments = [wait.due_at for wait in waits if wait.due_at is not None]
        moments += () if self._activation.stopping else self._calls.due()
        return max(0.0, min(moments) - self._real.time()) if moments else None

    def _park(self, wake_s: float | None) -> Parked:
        names = sorted({name for wait in self._waits.values() for name in wait.names})
        if not names and wake_s is None:
            raise _Doomed(
                failure_text(
                    WorkflowError(
                        "the workflow's own code waits for something that nobody will ever give it: "
                        "wait for steps, signals, people, children or time"
                    )
                )
            )
        shown = tuple(letter.id for letter in self._inbox if letter.name in names)
        self._uncalled.tell("waiting")
        started = self._book.children_left()
        return Parked(None, None, tuple(names), wake_s, shown, entries=self._book.left(), started=started)

    async def _compensate(self) -> str:
        """Undoes what was done, the newest first; a failure does not stop it. Returns the final status."""
        begun = {key for key, note in self._book.notes.items() if key.startswith(UNDO) and note.status != "done"}
        status = COMPENSATED
        for call in self._calls.newest_first():
            undo = call.step.outlast_compensate
            if undo is None:
                continue
            result = call.step.signature.read_result(call.text)
            given = {**call.step.signature.named(call.args, call.kwargs), "result": result}
            kwargs = {name: given[name] for name in undo.signature.names if name in given}
            key = f"{UNDO}{call.key}/{undo.outlast_step_name}#1"
            begun.discard(key)
            try:
                await self._called(key, undo, (), kwargs)
            except StepFailed:
                status = COMPENSATION_FAILED
        return COMPENSATION_FAILED if begun else status  # the code has lost one that had begun.

    async def _close(self) -> None:
        """Ends what still runs: steps of branches that were given up, and the code of a suspended workflow."""
        self.leave()
        await self._calls.stop()
        await self._book.close()

    # Parked, and still in memory: see `residents.Stayer`. Nothing of it runs, and nothing is being written.

    def _stay(self) -> bool:
        """Whether the code stays. Of what is undone it does not: its place is in `_fail`."""
        if self._doom is not None or not self._activation.stay(Residence(self)):
            return False
        waits = [*self._waits, *(call.key for call in self._calls.waiting)]
        self._book.forget_told(waits)
        self._loop.forget_ended()
        self._activation.claim.notes = self._activation.claim.letters = ()
        self._inbox, self._used = [], set()
        return True

    def timed(self) -> list[Wait | Call]:
        """See `residents.Stayer`."""
        found: list[Wait | Call] = [*self._waits.values(), *self._calls.waiting]
        if self._life is not None:
            found.append(self._life)
        return [each for each in found if each.due_at is not None]

    def contexts(self) -> Collection[Context]:
        """See `residents.Stayer`."""
        return self._loop.tasks.values()

    def wake(self, activation: Activation) -> None:
        """See `residents.Stayer`. As in a run from the beginning: its time is looked at first, then its signals."""
        self._activation = activation
        self._calls.move(activation)
        self._book.move(activation)
        self._errands.move(activation)
        self._uncalled.move(activation)
        self._look_at_life()
        if self._doom is None:
            self._take_letters(activation.claim.letters)

    def leave(self) -> None:
        """See `residents.Stayer`. No circle is left for the collector, who is slow with thousands of them."""
        self._closing = True
        futures = [*(wait.future for wait in self._waits.values()), *(call.future for call in self._calls.waiting)]
        for future in futures:
            if future is not None:
                future.cancel()  # it forgets the task that waits for it.
        self._loop.close_tasks()
        self._loop.flow = None


class _Doomed(Exception):
    """The workflow cannot go on, and has not said so itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _text_of(error: BaseException) -> str:
    """An error as it is stored: a step's with the type and the traceback of what the step raised."""
    if not isinstance(error, StepFailed):
        return failure_text(error)
    told = {"type": error.error.get("type"), "message": str(error), "traceback": error.error.get("traceback", "")}
    return encode(told, what="an error")


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return WorkflowError("the workflow's own code cancelled itself")
    return task.exception()
