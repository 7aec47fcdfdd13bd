"""What operators do with one instance: pause it, resume it, run it again, perhaps from another step or with other data.

Each act is noted with who did it and why, in the transaction that does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from outlast._codec import clean_text, encode
from outlast._kernel.program import WORKFLOW
from outlast._kernel.signatures import plain_object
from outlast._kernel.states import LIVE, MOVES
from outlast._model import Act, Deed, DeedRow, Held, Instance, Note, Redo, Retried, Row, Stopped
from outlast.config import checked_name, shown
from outlast.engine.checks import checked_id
from outlast.engine.handles import Asked, Handle
from outlast.engine.operations import Operations, Tried
from outlast.engine.reading import readable
from outlast.errors import (
    ArgumentError,
    ConfigError,
    DuplicateKey,
    IllegalMove,
    NotFound,
    UnknownProgram,
    ValueTooLarge,
    did_you_mean,
)
from outlast.jobs import Job
from outlast.machines.program import MachineProgram
from outlast.workflows import Workflow
from outlast.workflows.redo import Plan, plan

_REASON_CHARS_MAX: Final = 4_000
_PLANS_MAX: Final = 5
"""Times that a retry is planned anew because the instance was changed meanwhile."""


class Acts(Operations):
    """Operators' acts on single instances, and the record of them."""

    async def pause(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Lets a live instance begin no further step until it is resumed; pausing it again changes nothing.

        A step under way runs to its end and is recorded; a claim that a worker holds counts as one. What comes
        meanwhile is kept: signals, ends of children, times. Deadlines go on counting: what has run out is found on
        resume. It can be cancelled. With `tree` its live descendants are paused with it, in the same transaction;
        without, its children run on. Its steps that run elsewhere are paused with it in any case.

        Args:
            id: The instance.
            reason: Why; shown with the instance, and kept in the record of acts.
            tree: Its descendants, too.
            by: Who does this, for the record.

        Raises: NotFound. IllegalMove: it has ended.
        """
        paused = await self._running().pause(checked_id(id), self._deed("paused", reason, by), tree=tree)
        for each in () if paused is None else paused.ids:
            self._events.emit("instance.paused", id=each, by=by, reason=reason or None)
        return await self._turned("paused", id, paused)

    async def resume(self, id: str, reason: str = "", *, tree: bool = False, by: str | None = None) -> Instance:
        """Takes a pause back, with `tree` that of all live descendants; resuming what is not paused changes nothing.

        What came due meanwhile takes effect now. A signal that came counts before a time that ran out.

        Raises: NotFound. IllegalMove: it has ended.
        """
        resumed = await self._running().resume(checked_id(id), self._deed("resumed", reason, by), tree=tree)
        for each in () if resumed is None else resumed.ids:
            self._events.emit("instance.resumed", id=each, by=by, reason=reason or None)
        return await self._turned("resumed", id, resumed)

    async def _turned(self, what: str, id: str, met: Stopped | None) -> Instance:
        if met is None:
            raise NotFound(f"no instance has the id {id}")
        if met.former not in LIVE and not met.ids:
            raise IllegalMove(f"instance {id} has ended as {met.former!r} and cannot be {what}", met.former)
        return await self.get(id)

    async def retry(
        self,
        id: str,
        *,
        from_step: str | None = None,
        input: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        result_of: Mapping[str, Any] | None = None,
        reason: str = "",
        by: str | None = None,
    ) -> Instance:
        """Runs an ended or quarantined instance again, with all its attempts; its former result is dropped.

        A workflow keeps what it has recorded, but for steps that failed; one that was undone begins anew. All of this
        is one transaction, and what was changed or forgotten is kept in the record of acts.

        Args:
            id: The instance.
            from_step: Of a workflow the key of a step (or wait, or child) in its journal, such as `charge#2`, or its
                name if it was called once: that, and all that was over after it, in any branch, is forgotten and done
                again. Signals that were used by then are unread again. Of a machine the step to run next.
            input: Arguments of a workflow or a job to change, by name; the others stay.
            state: Fields of a machine to change, by name; the others stay.
            result_of: Results that steps of a workflow have from now on, by key: also of one that failed.
            reason: Why, for the record.
            by: Who does this, for the record.

        Raises: NotFound. DuplicateKey: its key belongs to another by now. IllegalMove: it is done, or has not ended;
            or steps that were undone would count as done; or a child that would be started anew has not ended.
            ConfigError: there is no such step. ArgumentError, ValueTooLarge: what is given does not fit.
            UnknownProgram: its code is not here, to check that.
        """
        crew, id = self._running(), checked_id(id)
        deed = self._deed("retried", reason, by)
        wanted = _Wanted(from_step, input, state, result_of or {})
        status = ""
        for _ in range(_PLANS_MAX):
            row = await self._store.instances.get(id)
            if row is None:
                raise NotFound(f"no instance has the id {id}")
            if row.status not in MOVES["retry"]:
                raise _not_to_be_retried(id, row.status)
            status = row.status
            redo, noted = await self._planned(row, wanted, deed)
            call = Tried(lambda redo=redo, noted=noted: self._store.acts.retry(id, redo, noted))  # type: ignore[misc]
            found = await crew.patiently(call)
            if found is None:
                raise NotFound(f"no instance has the id {id}")
            if isinstance(found, Held):
                raise DuplicateKey(found.key, Handle(cast(Asked, self), found.holder))
            if _is_done(found, redo) or (call.again and found.former in LIVE):
                crew.doorbell.work([found.queue])
                crew.doorbell.timer()  # what has a limit is admitted by the timekeeper.
                self._events.emit("instance.retried", id=id, by=by, reason=reason or None, from_step=from_step)
                return await self.get(id)
        raise IllegalMove(f"instance {id} is being changed by others all the time; look at it again", status)

    async def acts(self, id: str) -> Sequence[Act]:
        """What operators did with an instance by `pause`, `resume` and `retry`, oldest first. Raises: NotFound."""
        self._running()
        rows = await self._store.acts.list(checked_id(id))
        if not rows:
            await self.get(id)
        return [_read_act(row) for row in rows]

    def _deed(self, act: str, reason: str, by: str | None) -> Deed:
        who = None if by is None else checked_name(by, what="by")
        why = clean_text(reason, chars_max=_REASON_CHARS_MAX) or None
        return Deed(self._world.new_id(), act, who, why)

    async def _planned(self, row: Row, wanted: _Wanted, deed: Deed) -> tuple[Redo, Deed]:
        """What the retry changes, and the act with all that this drops."""
        program = self._known(row, needed=wanted.needs_code or (wanted.from_step is not None and row.step != WORKFLOW))
        detail: dict[str, Any] = {}
        fields: dict[str, Any] = {"epoch": row.epoch}
        if row.step == WORKFLOW:
            module = getattr(getattr(program, "function", None), "__module__", None)
            notes = await self._store.journal.notes([row.id])
            planned = plan(notes, row.status, from_step=wanted.from_step, results=wanted.results, module=module)
            if planned.children or planned.errands:
                await self._refuse_live(planned, row.status)
            letters = [(self._world.new_id(), name, payload) for name, payload in planned.letters]
            fields |= {"forget": [note.key for note in planned.forgotten], "results": list(planned.results.items())}
            fields |= {"letters": letters, "fresh": bool(planned.children)}
            detail |= _told(planned)
        else:
            if wanted.results:
                raise ConfigError("result_of is for workflows: nothing else records results of steps")
            fields |= _of_step(program, row, wanted.from_step, detail)
        if (state := _changed(program, row, wanted)) is not None:
            self._refuse_large("the state" if wanted.state is not None else "the input", state)
            before, after = plain_object(row.state), plain_object(state)
            detail["state" if wanted.state is not None else "input"] = {"before": before, "after": after}
            fields |= {"state": state, "version": getattr(program, "version", row.version)}
        for key, text in fields.get("results", ()):
            self._refuse_large(f"the result given for {key!r}", text)
        redo = Redo(**fields)
        text = encode(detail, what="the record of a retry") if detail else None
        return redo, Deed(deed.id, deed.act, deed.who, deed.reason, text)

    def _known(self, row: Row, *, needed: bool) -> Any:
        self._adopt()
        program = self._catalogue.find(row.program, row.version)
        if program is None and needed:
            raise UnknownProgram(
                f"the code of {row.program!r} version {row.version} is not known here, so nothing given can be checked"
            )
        return program

    def _refuse_large(self, what: str, text: str) -> None:
        size = len(text.encode())
        if size > self.config.payload_bytes_max:
            raise ValueTooLarge(what, size, self.config.payload_bytes_max)

    async def _refuse_live(self, planned: Plan, status: str) -> None:
        """A child (or an errand) that is forgotten is started once more: it must not run twice at a time."""
        for child in await self._store.instances.ended([*planned.children, *planned.errands]):
            if child.status in LIVE:
                raise IllegalMove(
                    f"child {child.id} has not ended ({child.status!r}), and would be started a second time: "
                    "cancel it first, or choose a later step",
                    status,
                )


class _Wanted:
    """What a caller of `retry` asks for."""

    def __init__(
        self,
        from_step: str | None,
        input: Mapping[str, Any] | None,
        state: Mapping[str, Any] | None,
        results: Mapping[str, Any],
    ) -> None:
        for name, value in (("input", input), ("state", state), ("result_of", results)):
            if value is not None and not isinstance(value, Mapping):
                raise ArgumentError(f"{name} takes an object by name, such as {{'name': value}}, not {shown(value)}")
        if from_step is not None and not isinstance(from_step, str):
            raise ConfigError(f"from_step takes a step's key or name, not {shown(from_step)}")
        self.from_step = from_step
        self.input = input
        self.state = state
        self.results = results

    @property
    def needs_code(self) -> bool:
        """Whether something is given that the program must check."""
        return self.input is not None or self.state is not None


def _is_done(found: Retried, redo: Redo) -> bool:
    return found.again or (found.former in MOVES["retry"] and found.epoch == redo.epoch)


def _not_to_be_retried(id: str, status: str) -> IllegalMove:
    hint = "; cancel it first" if status in LIVE else ""
    return IllegalMove(f"instance {id} is {status!r}; only {', '.join(MOVES['retry'])} can be retried{hint}", status)


def _of_step(program: Any, row: Row, step: str | None, detail: dict[str, Any]) -> dict[str, Any]:
    """The step that a machine goes on with."""
    if step is None:
        return {}
    if not isinstance(program, MachineProgram):
        raise ConfigError(f"{row.program!r} has one step only: from_step is for workflows and machines")
    if step not in program.steps:
        raise ConfigError(f"machine {row.program!r} has no step {step!r}{did_you_mean(step, program.steps)}")
    detail["step"] = {"before": row.step, "after": step}
    return {"step": step}


def _changed(program: Any, row: Row, wanted: _Wanted) -> str | None:
    """The new state, or None where it stays."""
    if isinstance(program, MachineProgram):
        if wanted.input is not None:
            raise ConfigError(f"{row.program!r} is a machine: change its fields with state")
        return None if wanted.state is None else program.revise(row.state, row.version, wanted.state)
    if wanted.state is not None:
        raise ConfigError(f"{row.program!r} is no machine: change its arguments with input")
    if wanted.input is None:
        return None
    if not isinstance(program, (Job, Workflow)):
        raise ConfigError(f"{row.program!r} takes no arguments by name")
    return program.revise(row.state, wanted.input)


def _told(planned: Plan) -> dict[str, Any]:
    """What is kept of a plan in the record."""
    told: dict[str, Any] = {} if planned.from_step is None else {"from_step": planned.from_step}
    if planned.forgotten:
        told["forgot"] = [_shown(note) for note in planned.forgotten]
    if planned.replaced:
        told["results"] = {
            note.key: {"before": _shown(note), "after": readable(planned.results[note.key])}
            for note in planned.replaced
        }
    if planned.letters:
        told["put_back"] = [name for name, _ in planned.letters]
    return told


def _shown(note: Note) -> dict[str, Any]:
    told = {"key": note.key, "kind": note.kind, "status": note.status, "attempt": note.attempt}
    told |= {"value": readable(note.value), "error": readable(note.error), "recorded_at": note.recorded_at.isoformat()}
    return {name: value for name, value in told.items() if value is not None}


def _read_act(row: DeedRow) -> Act:
    return Act(row.instance, row.at, row.act, row.who, row.reason, plain_object(row.detail or "{}"))
