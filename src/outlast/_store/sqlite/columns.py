"""New rows as the insert statements take them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from outlast._model import NewInstance
from outlast.errors import StoreError

_NUL: Final = "\0"

_plain = attrgetter(*NewInstance.__struct_fields__[:12])


def rows_text(rows: Sequence[NewInstance]) -> str:
    """Rows as the `add_full` statement reads them."""
    return msgspec.json.encode([astuple(row) for row in rows]).decode()


def plain_rows_text(rows: Sequence[NewInstance]) -> str:
    """Rows as the `add` statement reads them: those without a parent, a limit, a share, a trace or tags."""
    return msgspec.json.encode([_plain(row) for row in rows]).decode()


def objects_text(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of objects, alarms or calls as their statements read them.

    Raises: StoreError: a text that SQLite would cut off, which would make it another object's, or that is no Unicode.
    """
    for row in rows:
        for value in row:
            if type(value) is str and _NUL in value:
                raise _cut_off(value)
    try:
        return msgspec.json.encode(rows).decode()
    except UnicodeEncodeError as error:
        raise _no_unicode(error) from error


def checked_text(value: str) -> str:
    """The same text, of which `objects_text` would say nothing either. Raises: StoreError."""
    if _NUL in value:
        raise _cut_off(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _no_unicode(error) from error
    return value


def _cut_off(value: str) -> StoreError:
    return StoreError(f"text with a NUL character cannot be stored: {value[:80]!r}")


def _no_unicode(error: UnicodeEncodeError) -> StoreError:
    return StoreError(f"text with a lone surrogate cannot be stored: {error.object[:80]!r}")


def one_row(row: NewInstance, now_us: int) -> dict[str, Any]:
    """A row as the `add_one` statement reads it."""
    due_us = row.due_us if row.due_us is not None else now_us + int((row.delay_s or 0) * 1_000_000)
    return {
        "id": row.id,
        "program": row.program,
        "version": row.version,
        "queue": row.queue,
        "priority": row.priority,
        "step": row.step,
        "state": row.state,
        "correlation_key": row.correlation_key,
        "correlation_scope": row.correlation_scope,
        "timeout_s": row.timeout_s,
        "due_us": due_us,
        "now_us": now_us,
    }
