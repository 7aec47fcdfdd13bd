"""Due times, queues, and what keeps the tables small."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from outlast._kernel.limits import RATE
from outlast._model import OVERDUE_S, Due, QueueCounts, ReadyProgram, Standing
from outlast._store.rows import assemble_counts
from outlast._store.sqlite.desk import Desk, scalar
from outlast._store.sqlite.instances import forget_all
from outlast._store.sqlite.limits import Limits
from outlast._world import instant

WAL_RESET_FIXED = (3, 51, 3)


class Timers:
    """See `contract.Timers`."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk = desk
        self._limits = limits

    async def promote(self, limit: int, now_us: int | None = None) -> Due:
        desk, limits = self._desk, self._limits
        now = desk.now_us(now_us)
        due_us, wake_us, bucket_us = (await desk.rows("next_due"))[0]
        if (next_s := _seconds_until(now, due_us, wake_us, bucket_us)) is None or next_s > 0:
            return Due((), 0, next_s)
        values = {"now_us": now, "limit": limit}

        def move(connection: sqlite3.Connection) -> tuple[int, int, set[str]]:
            due: list[list[Any]] = []
            late: list[list[str]] = []
            gates: set[str] = set()
            if due_us is not None and due_us <= now:
                text = scalar(connection, desk.text("find_due"), values)
                connection.execute(desk.text("promote"), {"due": text})
                due = msgspec.json.decode(text)
                gates = {gate for _, _, gate in due if gate is not None}
            if wake_us is not None and wake_us <= now:
                text = scalar(connection, desk.text("find_late"), values)
                connection.execute(desk.text("wake_late"), {"late": text, "now_us": now})
                late = msgspec.json.decode(text)
            if bucket_us is not None and bucket_us <= now:
                rates = msgspec.json.decode(scalar(connection, desk.text("due_buckets"), values))
                gates.update(RATE + rate for rate in rates)
            queues = limits.open_within(connection, sorted(gates)) if gates else set()
            queues.update(queue for _, queue, gate in due if gate is None and queue is not None)
            queues.update(queue for _, queue in late)
            return len(due) + len(late), len(late), queues

        moved, woken, queues = await desk.writer.write(move)
        return Due(sorted(queues), moved, _seconds_until(now, *(await desk.rows("next_due"))[0]), woken)

    async def hurry(self, ids: Sequence[str]) -> None:
        await self._desk.run("hurry", ids=msgspec.json.encode(list(ids)).decode(), now_us=self._desk.now_us())


def _seconds_until(now_us: int, *moments_us: int | None) -> float | None:
    """Seconds until the first of these moments; None: there is none."""
    first_us = min((us for us in moments_us if us is not None), default=None)
    return None if first_us is None else max(0.0, (first_us - now_us) / 1_000_000)


class Queues:
    """See `contract.Queues`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pause(self, name: str) -> None:
        await self._desk.run("pause", name=name, now_us=self._desk.now_us())

    async def resume(self, name: str) -> None:
        await self._desk.run("resume", name=name)

    async def counts(self) -> list[QueueCounts]:
        desk = self._desk
        paused = {name: instant(us) for name, us in await desk.rows("paused")}
        now = desk.now_us()
        found: list[tuple[str, str, int, float | None]] = []
        for status in ("scheduled", "ready", "blocked", "running", "waiting"):
            for queue, count, oldest_us in await desk.rows(f"queue_{status}"):
                found.append((queue, status, count, None if oldest_us is None else (now - oldest_us) / 1_000_000))
        return assemble_counts(paused, found)


class Upkeep:
    """See `contract.Upkeep`."""

    def __init__(self, desk: Desk, shared: bool) -> None:
        self._desk = desk
        self._shared = shared

    async def prune(self, limit: int, now_us: int | None = None) -> int:
        desk = self._desk
        values = {"now_us": desk.now_us(now_us), "limit": limit}
        find, prune = desk.text("find_expired"), desk.text("prune")
        if (await desk.rows("find_expired", now_us=values["now_us"], limit=1))[0][0] == "[]":
            return 0

        def delete(connection: sqlite3.Connection) -> int:
            ids = {"ids": scalar(connection, find, values)}
            forget_all(connection, desk, ids["ids"])
            return connection.execute(prune, ids).rowcount

        deleted: int = await desk.writer.write(delete)
        return deleted

    async def findings(self) -> list[tuple[str, str, str]]:
        desk = self._desk
        mode = await desk.writer.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()[0])
        check = await desk.reader.read(lambda connection: connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        found: list[tuple[str, str, str]] = [sqlite_finding()]
        if self._shared and mode != "wal":
            found.append(
                (
                    "problem",
                    "journal",
                    f"the journal mode is {mode}, not wal; writers and readers block each other",
                )
            )
        sound = check == "ok"
        found.append(("ok", "file", "sound (quick_check)") if sound else ("problem", "file", f"damaged: {check}"))
        return found

    async def standing(self) -> Standing:
        desk = self._desk
        now = desk.now_us()
        late_us = now - int(OVERDUE_S * 1_000_000)
        quarantined, overdue, ownerless, first_us = (await desk.rows("standing", late_us=late_us))[0]
        ready = [
            ReadyProgram(program, version, queue, count, max(0.0, (now - oldest_us) / 1_000_000))
            for program, version, queue, count, oldest_us in await desk.rows("ready_programs")
        ]
        overdue_s = (now - first_us) / 1_000_000 if overdue else 0.0
        return Standing(instant(now), quarantined, overdue, overdue_s, ownerless, ready)


def sqlite_finding() -> tuple[str, str, str]:
    """What to say of the SQLite that this interpreter links."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return ("ok", "sqlite", f"version {version}")
    return (
        "warning",
        "sqlite",
        f"version {version} has the WAL-reset bug (fixed in 3.51.3): with more than one process writing the file it "
        "can, very rarely, be damaged. Use one process, a newer SQLite, or Postgres",
    )
