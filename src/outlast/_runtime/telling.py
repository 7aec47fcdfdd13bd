"""What committed outcomes tell of the journals of workflows: steps, and what people are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outlast._codec import decode_any
from outlast._kernel.failures import read_error
from outlast._model import Entry, Settlement


def tell_of_entries(emit: Callable[..., None], item: Settlement, program: str, queue: str) -> None:
    """Reports what an outcome has recorded. For outcomes that are committed, and while somebody hears."""
    for entry in item.entries or ():
        if entry.kind == "step":
            _tell_of_step(emit, item.id, program, queue, entry)
        elif entry.kind == "input":
            _tell_of_input(emit, item.id, program, queue, entry)


def _tell_of_step(emit: Callable[..., None], id: str, program: str, queue: str, entry: Entry) -> None:
    error = read_error(entry.error)
    emit(
        "step.recorded",
        id=id,
        program=program,
        queue=queue,
        key=entry.key,
        status=entry.status,
        attempt=entry.attempt,
        duration_s=entry.duration_s,
        error=None if error is None else f"{error.get('type')}: {error.get('message')}",
    )


def _tell_of_input(emit: Callable[..., None], id: str, program: str, queue: str, entry: Entry) -> None:
    found: Any = decode_any(entry.value or "{}")
    name = found.get("name")
    if entry.status == "waiting":
        emit("input.asked", id=id, program=program, queue=queue, key=entry.key, input=name)
        return
    result = "answered" if "answer" in found else "cancelled" if "cancelled" in found else "late"
    emit("input.closed", id=id, program=program, queue=queue, key=entry.key, input=name, result=result)
