"""What workflows have recorded, and what they ask people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from outlast._codec import clean_text
from outlast._kernel.forms import called_off, checked_answer
from outlast._kernel.program import ERRAND
from outlast._model import Asked, Note, PendingInput, RecordedStep
from outlast.config import shown
from outlast.engine.checks import PAGE_MAX, checked_limit
from outlast.engine.drawing import drawn_run
from outlast.engine.handles import SignalResult
from outlast.engine.messages import Messages, Target
from outlast.engine.reading import readable, texts_of
from outlast.engine.recorded import AFTER_CALLED, read_steps
from outlast.errors import ConfigError, NotFound, UnknownProgram
from outlast.graphs import Graph, draw
from outlast.workflows import Workflow
from outlast.workflows.errands import read_errand


class Journals(Messages):
    """The journal of workflows, and people's answers."""

    async def steps(self, target: Target) -> Sequence[RecordedStep]:
        """What a workflow has recorded: its steps, waits and children, in the order in which they began.

        Raises: NotFound.
        """
        id = await self._id_of(target)
        notes = await self._notes(id)
        return read_steps(notes, await self._errands(id) if notes else {})

    async def _errands(self, id: str) -> dict[str, str]:
        """The errands of a workflow: a step's key to the id of the last one that was sent for it."""
        found: dict[str, str] = {}
        after = AFTER_CALLED
        while rows := await self._store.instances.children(id, round=None, after=after, limit=PAGE_MAX):
            found |= {read_errand(row.state)["key"]: row.id for row in rows if row.step == ERRAND}
            after = rows[-1].round, rows[-1].child
        return found

    async def pending_inputs(
        self,
        *,
        program: str | None = None,
        name: str | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> Sequence[PendingInput]:
        """What people are asked for, those first that have waited longest.

        Args:
            program, name: Only inputs of this workflow, of this name.
            until: Only those whose time is up by this instant.
            limit: At most this many, up to 1,000.

        Raises: ConfigError.
        """
        self._running()
        found: list[PendingInput] = []
        wanted = checked_limit(limit)
        for asked in await self._store.journal.pending(_ASKED_MAX):
            pending = _read_pending(asked)
            if (
                program in (None, pending.program)
                and name in (None, pending.name)
                and (until is None or (pending.until is not None and pending.until <= until))
            ):
                found.append(pending)
        return found[:wanted]

    async def provide_input(self, target: Target, name: str, answer: Any) -> SignalResult:
        """Gives a person's answer to what an instance asks for.

        Returns: `delivered`; `duplicate`: somebody has answered already.

        Raises: NotFound: it asks for nothing of that name. InvalidAnswer: the answer does not fit; nothing is stored.
        """
        id, key, request = await self._asked(target, name)
        return await self._answer(id, key, checked_answer(request, answer))

    async def cancel_input(self, target: Target, name: str, reason: str = "") -> SignalResult:
        """Calls off what an instance asks people for: its wait raises `InputCancelled`, which the workflow may catch.

        Returns: `delivered`; `duplicate`: it has been answered or called off already.

        Raises: NotFound: it asks for nothing of that name.
        """
        id, key, _ = await self._asked(target, name)
        return await self._answer(id, key, called_off(clean_text(reason)))

    async def _answer(self, id: str, key: str, answer: Any) -> SignalResult:
        """Of all answers to one request the first counts. A retry may let the same request be asked once more."""
        retries = sum(act.act == "retried" for act in await self._store.acts.list(id))
        dedup_key = f"answer:{key}@{retries}" if retries else f"answer:{key}"
        return await self.signal(id, f"~answer:{key}", answer, dedup_key=dedup_key)

    async def _asked(self, target: Target, name: str) -> tuple[str, str, dict[str, Any]]:
        """The instance, the request's key, and what is asked. Raises: NotFound."""
        id = await self._id_of(target)
        asked = {}
        for note in await self._notes(id):
            if note.kind == "input" and note.status == "waiting":
                request = _read_request(note.value)
                asked[request.get("name")] = (note.key, request)
        if name not in asked:
            waits = f"; it asks for {', '.join(map(repr, asked))}" if asked else ""
            raise NotFound(f"instance {id} asks for no input called {shown(name)}{waits}")
        return id, *asked[name]

    def drawing(self, name: str) -> Graph:
        """A workflow as its code says, before it runs. Raises: UnknownProgram. ConfigError: it is no workflow."""
        return _drawn(self.program(name))

    async def graph(self, target: Target) -> Graph:
        """An instance's workflow with its run on it: what is done, what waits, the way taken.

        Render it with `outlast.graphs`: `svg(graph)`, `mermaid`, `dot`, `tree`.

        Raises: NotFound. UnknownProgram: its code is not here. ConfigError: it is no workflow.
        """
        instance = await self.get(await self._id_of(target))
        self._adopt()
        program = self._catalogue.find(instance.program, instance.version)
        if program is None:
            raise UnknownProgram(f"the code of {instance.program!r} version {instance.version} is not known here")
        return drawn_run(_drawn(program), instance, await self.steps(instance))

    async def _notes(self, id: str) -> Sequence[Note]:
        self._running()
        return await self._store.journal.notes([id])


def _drawn(program: object) -> Graph:
    if not isinstance(program, Workflow):
        raise ConfigError(f"{program!r} is no workflow: only workflows are drawn")
    return draw(program.function)


def _read_request(text: str | None) -> dict[str, Any]:
    """What is asked; nothing where it cannot be read: one such row must not hide all others."""
    found = readable(text)
    return found if isinstance(found, dict) else {}


_ASKED_MAX = 10_000
"""Pending inputs that are looked through."""


def _read_pending(asked: Asked) -> PendingInput:
    request = _read_request(asked.value)
    fields, metadata, prompt = request.get("fields"), request.get("metadata"), request.get("prompt")
    return PendingInput(
        instance=asked.instance,
        program=asked.program,
        key=asked.key,
        name=str(request.get("name", "")),
        type=str(request.get("type", "text")),
        prompt=None if prompt is None else str(prompt),
        fields=[each for each in fields if isinstance(each, dict)] if isinstance(fields, list) else [],
        choices=texts_of(request.get("choices")),
        metadata=metadata if isinstance(metadata, dict) else {},
        since=asked.since,
        until=asked.until,
    )
