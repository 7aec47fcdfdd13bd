"""From asyncpg's errors to ours, by SQLSTATE.

The runtime takes a bare StoreError for the fault of a row, and goes looking for it; all that is the database's own
trouble must therefore have a kind of its own.
"""

from __future__ import annotations

from typing import Final

from outlast.errors import (
    ConfigError,
    OutlastError,
    SchemaError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

_IN_THE_WAY: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock timeout: nothing was done, and the same statement may succeed now."""
_READ_ONLY: Final = frozenset({"25006", "42501"})
_NO_TABLE: Final = frozenset({"42P01", "3F000", "42703"})
_POOLER: Final = frozenset({"26000", "42P05", "08P01"})
_AWAY_CLASSES: Final = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0"})
"""Connection, transaction state, login, database name, rollback, resources, object state, operator, system, config."""


def code_of(error: BaseException) -> str:
    """The SQLSTATE, or an empty text."""
    return getattr(error, "sqlstate", None) or ""


def is_in_the_way(error: BaseException) -> bool:
    """Whether another transaction was in the way, so that trying again at once makes sense."""
    return code_of(error) in _IN_THE_WAY


def is_refused(error: BaseException) -> bool:
    """Whether this user may not do it, or this kind of Postgres cannot."""
    return code_of(error) in ("42501", "42883", "0A000")


def is_key_taken(error: BaseException) -> bool:
    """Whether a unique index refused the row."""
    return code_of(error) == "23505"


def leaves_session(error: BaseException) -> bool:
    """Whether it was an answer of a server that goes on listening, so that the session can be used again."""
    code = code_of(error)
    return bool(code) and not code.startswith(("08", "57P"))


def translated(error: BaseException) -> BaseException:
    """The error of ours that says the same; what is neither the driver's nor the network's stays as it is."""
    if isinstance(error, OutlastError):
        return error
    code = code_of(error)
    made: OutlastError
    if code:
        made = _from_server(code, str(error))
    elif isinstance(error, TimeoutError):
        made = StoreUnavailable("Postgres did not answer in time")
    elif isinstance(error, OSError):
        made = StoreUnavailable(f"Postgres cannot be reached: {error}")
    elif not type(error).__module__.startswith("asyncpg"):
        return error
    elif isinstance(error, ValueError):  # asyncpg's ClientConfigurationError
        made = ConfigError(f"the Postgres URL cannot be used: {error}")
    else:
        made = StoreUnavailable(f"the connection to Postgres cannot be used: {error}")
    made.__cause__ = error
    return made


def _from_server(code: str, said: str) -> StoreError:
    if code in _READ_ONLY:
        return StoreReadOnly(f"Postgres refuses to write: {said}")
    if code == "53100":
        return StoreFull(f"no space left for Postgres: {said}")
    if code in ("XX001", "XX002"):
        return StoreCorrupt(f"Postgres found damaged data: {said}")
    if code in _NO_TABLE:
        return SchemaError(f"the tables are missing or older ({said}); run `outlast migrate`")
    if code in _POOLER:
        return StoreUnavailable(f'{said} (behind a transaction pooler, set pooler="transaction")')
    if code == "57014":
        return StoreUnavailable(f"a statement took longer than statement_timeout: {said}")
    if code[:2] in _AWAY_CLASSES:
        return StoreUnavailable(f"Postgres is not available: {said}")
    return StoreError(said)
