"""From a workflow's journal to what callers see of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from outlast._kernel.failures import read_error
from outlast._model import Note, RecordedStep
from outlast.engine.reading import readable
from outlast.workflows.errands import ROUNDS_FROM
from outlast.workflows.uncalled import UNCALLED, uncalled_keys

AFTER_CALLED: Final = (ROUNDS_FROM - 1, 2**31 - 1)
"""The place behind the children that a workflow has called or started: errands are of later rounds."""


def read_steps(notes: Sequence[Note], errands: Mapping[str, str]) -> list[RecordedStep]:
    """What a workflow has recorded. `errands`: a step's key to the instance in which it ran."""
    uncalled = uncalled_keys(next((note.value for note in notes if note.key == UNCALLED), None))
    return [_read_step(note, errands, uncalled) for note in notes if note.key != UNCALLED]


def _read_step(note: Note, errands: Mapping[str, str], uncalled: Collection[str]) -> RecordedStep:
    branch, _, name = note.key.rpartition("/")
    return RecordedStep(
        key=note.key,
        kind=note.kind,
        name=name.rpartition("#")[0],
        branch=branch,
        status=note.status,
        attempt=note.attempt,
        value=readable(note.value),
        error=read_error(note.error),
        duration_s=note.duration_s,
        wake_at=note.wake_at,
        recorded_at=note.recorded_at,
        errand=errands.get(note.key),
        called=note.key not in uncalled,
    )
