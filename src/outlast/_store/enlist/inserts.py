"""What is asked of any connection, and what the answers mean. How it is asked, the lanes know.

The questions are yielded, so that one course of events serves drivers that block and those that are awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Final, Protocol

import msgspec

from outlast._model import Held, NewInstance
from outlast._store.statements import Statement, parse
from outlast.errors import StoreError

Question = tuple[Statement, dict[str, Any]]

SENDER: Final = "enlist"
"""Who rings, as the doorbell's listeners read it: no node is called that, so every engine listens."""
MESSAGE_BYTES_MAX: Final = 7_900
"""Postgres carries less than 8,000 bytes at once; a longer message becomes `*`: look at everything."""
TRIES_MAX: Final = 5
"""Times that a row is inserted whose key was refused, and free again when we looked for the holder."""


class Lane(Protocol):
    """A connection of one family, as we speak to it."""

    is_async: ClassVar[bool]

    def __init__(self, connection: Any) -> None: ...

    @property
    def dialect(self) -> str:
        """What it leads to: "sqlite", "postgres", or another name. Raises: ConfigError."""

    def fetch(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        """All rows of one statement as sequences, or an awaitable of them when `is_async`."""


class Inserts:
    """The course of an insert. The arguments are those of `enlist`."""

    def __init__(self, dialect: str, schema: str, *, notify: bool, now_us: Callable[[], int | None]) -> None:
        self._sql = statements(dialect, schema)
        self._notify = notify and dialect == "postgres"
        self._now_us = now_us
        self._as_text = dialect == "postgres"
        # A table that is missing here is there on the engine's own connection.
        self._missing = f'"{schema}.instances"' if dialect == "postgres" else f"no such table: {schema}_instances"

    def add(self, rows: Sequence[NewInstance], queues: Collection[str]) -> Generator[Question, Any, list[Held]]:
        """Inserts rows and returns the Held ones.

        Raises: StoreError: a key changed hands again and again while we looked.
        """
        fixed = {"now_us": self._now(), "message": self._message(rows, queues)}
        held: list[Held] = []
        left = list(rows)
        for _ in range(TRIES_MAX):
            if not left:
                return held
            values = fixed | {"rows": msgspec.json.encode(left).decode()}
            counts = yield self._question("add", values)
            if any(row.tags is not None for row in left):
                yield self._question("tag", values)
            if sum(count for count, *_ in counts) == len(left):
                return held
            found = yield self._question("holders", values)
            held += [Held(*row) for row in found if row[2] is not None]
            freed = {row[0] for row in found if row[2] is None}
            left = [row for row in left if row.id in freed]
        if left:
            key = left[0].correlation_key
            raise StoreError(f"correlation key {key!r} changed hands {TRIES_MAX} times while we looked; start again")
        return held

    def _question(self, name: str, values: Mapping[str, Any]) -> Question:
        statement = self._sql[name]
        return statement, {parameter: values[parameter] for parameter in statement.parameters}

    def _now(self) -> int | str | None:
        now_us = self._now_us()
        return str(now_us) if self._as_text and now_us is not None else now_us

    def _message(self, rows: Sequence[NewInstance], queues: Collection[str]) -> str | None:
        if not self._notify:
            return None
        words = [f"q:{queue}" for queue in sorted(queues)]
        if any(row.delay_s or row.due_us is not None or row.concurrency_key or row.rate_limit for row in rows):
            words.append("t")  # The timekeeper may have to get up earlier.
        if not words:
            return None
        message = f"{SENDER} " + "\n".join(words)
        return message if len(message.encode()) <= MESSAGE_BYTES_MAX else f"{SENDER} *"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Adds what to do to an error that the driver alone cannot explain."""
        try:
            yield
        except Exception as error:
            if self._missing in str(error):
                error.add_note("outlast: the tables are not in the database of this connection; is it the engine's?")
            raise


class Blocking:
    """See `contract.Enlisted`. Runs in the caller's thread."""

    is_async = False

    def __init__(self, inserts: Inserts, lane: Lane) -> None:
        self._inserts = inserts
        self._lane = lane

    def add(self, rows: Sequence[NewInstance], queues: Collection[str]) -> list[Held]:
        """See `contract.Enlisted`."""
        course, answer = self._inserts.add(rows, queues), None
        while True:
            try:
                statement, values = course.send(answer)
            except StopIteration as end:
                held: list[Held] = end.value
                return held
            with self._inserts.explained():
                answer = self._lane.fetch(statement, values)


class Awaiting:
    """See `contract.Enlisted`. Runs in the caller's task."""

    is_async = True

    def __init__(self, inserts: Inserts, lane: Lane) -> None:
        self._inserts = inserts
        self._lane = lane

    async def add(self, rows: Sequence[NewInstance], queues: Collection[str]) -> list[Held]:
        """See `contract.Enlisted`."""
        course, answer = self._inserts.add(rows, queues), None
        while True:
            try:
                statement, values = course.send(answer)
            except StopIteration as end:
                held: list[Held] = end.value
                return held
            with self._inserts.explained():
                answer = await self._lane.fetch(statement, values)


@cache
def statements(dialect: str, schema: str) -> Mapping[str, Statement]:
    """The statements for one kind of database, by name."""
    file = resources.files("outlast._store.enlist.sql").joinpath(f"{dialect}.sql")
    return {statement.name: statement for statement in parse(file.read_text(encoding="utf-8"), schema=schema)}
