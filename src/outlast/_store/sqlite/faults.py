"""From SQLite's errors to ours."""

from __future__ import annotations

import sqlite3
from typing import Final

from outlast.errors import (
    OutlastError,
    SchemaError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

_BUSY: Final = 5
_LOCKED: Final = 6
_READONLY: Final = 8
_IOERR: Final = 10
_CORRUPT: Final = 11
_FULL: Final = 13
_CANTOPEN: Final = 14
_PROTOCOL: Final = 15
_NOTADB: Final = 26


def code_of(error: BaseException) -> int:
    """SQLite's primary result code, or 0."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether another connection was in the way: for a moment, or, by SQLite's own waiting, for ten seconds."""
    return code_of(error) in (_BUSY, _LOCKED, _PROTOCOL)


def translated(error: BaseException) -> BaseException:
    """The error of ours that says the same; what is not SQLite's stays as it is."""
    made: StoreError
    if isinstance(error, OverflowError):  # An integer of more than 64 bits; the driver refuses it by itself.
        made = StoreError(f"a number is too large for the database: {error}")
        made.__cause__ = error
        return made
    if isinstance(error, OutlastError) or not isinstance(error, sqlite3.Error):
        return error
    code, said = code_of(error), str(error)
    if is_busy(error):
        made = StoreUnavailable(f"another process kept the database locked: {said}")
    elif code == _READONLY:
        made = StoreReadOnly(f"the database cannot be written: {said}")
    elif code == _FULL:
        made = StoreFull(f"no space left for the database: {said}")
    elif code in (_CORRUPT, _NOTADB):
        made = StoreCorrupt(f"the file is not a sound SQLite database: {said}")
    elif code in (_CANTOPEN, _IOERR):
        made = StoreUnavailable(f"the database file cannot be used: {said}")
    elif "no such table" in said:
        made = SchemaError(f"the tables are missing ({said}); run `outlast migrate`")
    else:
        made = StoreError(said)
    made.__cause__ = error
    return made
