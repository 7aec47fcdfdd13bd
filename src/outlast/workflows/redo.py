"""What a retry of a workflow forgets of its journal, what it rewrites there, and which signals are unread again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlast._codec import decode_any, encode
from outlast._kernel.states import QUARANTINED, UNDONE
from outlast._model import Note
from outlast.errors import ArgumentError, ConfigError, EncodingError, IllegalMove, did_you_mean
from outlast.workflows.flow import FAILURE, LIFETIME, UNDO
from outlast.workflows.people import ANSWER
from outlast.workflows.steps import Step, steps_called


@dataclass(frozen=True, slots=True)
class Plan:
    """What a retry does with a journal.

    Attributes:
        from_step: The key from which on all is forgotten, or None.
        forgotten: What is forgotten, in its order.
        results: Keys and JSON texts of the results that steps have from now on.
        replaced: What stood there before.
        letters: Names and payloads (JSON text) of the signals that what is forgotten had used, in their order.
    """

    from_step: str | None
    forgotten: Sequence[Note]
    results: Mapping[str, str]
    replaced: Sequence[Note]
    letters: Sequence[tuple[str, str]]

    @property
    def children(self) -> list[str]:
        """Ids of the children that are forgotten."""
        return [decode_any(note.value)["id"] for note in self.forgotten if note.kind == "child" and note.value]

    @property
    def errands(self) -> list[str]:
        """Ids of the errands that were out, of steps that are forgotten or have another result."""
        return [
            decode_any(note.value)["id"] for note in (*self.forgotten, *self.replaced) if _is_out(note) and note.value
        ]


def plan(
    notes: Sequence[Note], status: str, *, from_step: str | None, results: Mapping[str, Any], module: str | None
) -> Plan:
    """What is forgotten.

    Without `from_step`, what has not succeeded; all, where all was undone; only compensations that have not succeeded,
    where it is being undone. With it, what was over when that step was over, or later, and what was still being tried:
    the rest is how the workflow stood before it. That the workflow is being undone is forgotten only where every step
    that was undone is.

    Args:
        notes: The journal.
        status: The instance's.
        from_step: A key in it, or the name of a step that was called once.
        results: New results of steps, by key (or such a name).
        module: Where the workflow is defined; None: not known here.

    Raises: ConfigError: no such step. ArgumentError: a result does not fit. IllegalMove: what was undone would count as
        done.
    """
    ordered = sorted(notes, key=lambda note: note.number)
    replaced = {note.key: (note, value) for name, value in results.items() for note in [_replaceable(ordered, name)]}
    if from_step is not None:
        start = _found(ordered, from_step)
        _refuse_undone(ordered, start, status)
        forgotten = [note for note in ordered if note.number >= start.number or _is_passing(note, status)]
    elif status in UNDONE:
        start, forgotten = None, ordered
    elif any(note.key == FAILURE for note in ordered):  # to undo all, it must come by all that was done, as it did.
        if replaced:
            raise IllegalMove("it is being undone: a retry goes on with that, and replaces no result", status)
        start, forgotten = None, [note for note in ordered if note.key.startswith(UNDO) and _is_retried(note, status)]
    else:
        start, forgotten = None, [note for note in ordered if _is_retried(note, status)]
    if start is not None or status in UNDONE:
        for key in replaced:
            if any(note.key == key for note in forgotten):
                raise ConfigError(f"result_of names {key!r}, which this retry forgets: it will run again")
    texts = {key: _written(note, value, module) for key, (note, value) in replaced.items()}
    gone = [note for note in forgotten if note.key not in texts]
    letters = [letter for note in gone for letter in _letters(note)]
    return Plan(start and start.key, gone, texts, [note for note, _ in replaced.values()], letters)


def _is_retried(note: Note, status: str) -> bool:
    return note.status in ("failed", "retrying") or note.key == LIFETIME or _is_recalled(note, status)


def _is_passing(note: Note, status: str) -> bool:
    """Whether it belongs to the end that the workflow has come to, and not to its way."""
    return (
        note.status == "retrying"
        or note.key in (FAILURE, LIFETIME)
        or note.key.startswith(UNDO)
        or _is_recalled(note, status)
    )


def _is_out(note: Note) -> bool:
    """Whether it says that a step's errand is out."""
    return note.kind == "step" and note.status == "waiting"


def _is_recalled(note: Note, status: str) -> bool:
    """Whether it is an errand that ended with its workflow. A quarantined one has not ended, and waits for its own."""
    return _is_out(note) and status != QUARANTINED


def _found(notes: Sequence[Note], name: str) -> Note:
    known = {note.key: note for note in notes if not note.key.startswith("~")}
    if name in known:
        return known[name]
    called = [note for key, note in known.items() if key.rpartition("/")[2].rpartition("#")[0] == name]
    if len(called) == 1:
        return called[0]
    if called:
        raise ConfigError(
            f"{name!r} was called {len(called)} times: {_listed([note.key for note in called])}; name one"
        )
    has = f"it has recorded {_listed(list(known))}" if known else "it has recorded nothing"
    raise ConfigError(f"the journal holds nothing called {name!r}{did_you_mean(name, known)}; {has}")


def _listed(keys: Sequence[str]) -> str:
    more = "" if len(keys) <= _LISTED_MAX else f" and {len(keys) - _LISTED_MAX:,} more"
    return ", ".join(map(repr, keys[:_LISTED_MAX])) + more


_LISTED_MAX = 20


def _refuse_undone(notes: Sequence[Note], start: Note, status: str) -> None:
    """Refuses to go on from a step with undone steps before it, or where nobody knows what was undone."""
    by_key = {note.key: note for note in notes}
    undone: list[Note] = []
    for note in notes:
        if note.key.startswith(UNDO):
            key = note.key.removeprefix(UNDO).rpartition("/")[0]
            if note.status != "done":
                raise IllegalMove(
                    f"the compensation of {key!r} has not succeeded, so nobody knows whether what it did still stands; "
                    "a retry without from_step goes on from there, or begins anew",
                    status,
                )
            undone += [by_key[key]] if key in by_key else []
    kept = [note for note in undone if note.number < start.number]
    if kept:
        first = min(kept, key=lambda note: note.number)
        raise IllegalMove(
            f"{first.key!r} was undone: a retry from {start.key!r} would take it for done. Retry from {first.key!r} or "
            "from something before it",
            status,
        )


def _replaceable(notes: Sequence[Note], name: str) -> Note:
    note = _found(notes, name)
    if note.kind != "step":
        raise ConfigError(f"result_of names {note.key!r}, a {note.kind}: only results of steps can be replaced")
    return note


def _written(note: Note, value: Any, module: str | None) -> str:
    """A new result as text, if the step's return annotation takes it."""
    name = note.key.rpartition("/")[2].rpartition("#")[0]
    steps = steps_called(name)
    if here := [step for step in steps if step.function.__module__ == module]:
        steps = here
    if not steps:
        raise ConfigError(
            f"step {name!r} is not known here, so its result cannot be checked: import the module that defines it"
        )
    for step in steps:
        _check(step, note.key, value)
    return steps[0].signature.encode_result(value)


def _check(step: Step[Any, Any], key: str, value: Any) -> None:
    try:
        step.signature.result.encode(value)
    except EncodingError as error:
        raise ArgumentError(f"the result given for {key!r} does not fit: {error}") from None


def _letters(note: Note) -> list[tuple[str, str]]:
    """The signals that a wait had used."""
    if note.kind not in ("signal", "input") or note.status != "done":
        return []
    recorded = decode_any(note.value or "{}")
    if note.kind == "input":
        return [(f"{ANSWER}{note.key}", _text(recorded["answer"]))] if "answer" in recorded else []
    if "payloads" in recorded:
        return [(name, _text(payload)) for name, payload in recorded["payloads"].items()]
    return [(recorded["name"], _text(recorded["payload"]))] if "payload" in recorded else []


def _text(payload: Any) -> str:
    return encode(payload, what="a signal's payload")
