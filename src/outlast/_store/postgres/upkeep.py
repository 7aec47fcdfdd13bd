"""Due times, queues, and what keeps the tables small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from outlast._model import OVERDUE_S, Due, QueueCounts, ReadyProgram, Standing
from outlast._store.postgres.desk import Desk
from outlast._store.postgres.limits import Limits
from outlast._store.rows import assemble_counts

OLD_TRANSACTION_S: Final = 300.0
_SKEW_S: Final = 5.0
_XID_AGE_WARN: Final = 1_000_000_000
_XID_AGE_PROBLEM: Final = 1_800_000_000

Finding = tuple[str, str, str]


class Timers:
    """See `contract.Timers`."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk = desk
        self._limits = limits

    async def promote(self, limit: int, now_us: int | None = None) -> Due:
        desk, now = self._desk, self._desk.now(now_us)
        row = (await desk.change("promote", promote_max=limit, now=now))[0]
        ready, gates, promoted, wake_s, bucket_s, next_s = row
        queues = set(ready or ())
        if gates:
            queues.update(await self._limits.open(gates))
            bucket_s = 0.0  # a gate may have been told to look again: look again.
        elif bucket_s is not None and bucket_s <= 0:
            queues.update(await self._limits.open_due(limit))
        woken: list[str] = []
        if wake_s is not None and wake_s <= 0:
            # What another node is waking at this moment is skipped; it is not asked for again at once.
            woken = [found[0] for found in await desk.change("wake_late", wake_max=limit, now=now)]
            queues.update(woken)
            wake_s = 0.0 if woken else None
        first_s = min((each for each in (wake_s, bucket_s, next_s) if each is not None), default=None)
        return Due(
            sorted(queues) or (), promoted + len(woken), None if first_s is None else max(0.0, first_s), len(woken)
        )

    async def hurry(self, ids: Sequence[str]) -> None:
        await self._desk.run("hurry", ids=list(ids), now=self._desk.now())


class Queues:
    """See `contract.Queues`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def pause(self, name: str) -> None:
        await self._desk.run("pause", name=name, now=self._desk.now())

    async def resume(self, name: str) -> None:
        await self._desk.run("resume", name=name)

    async def counts(self) -> list[QueueCounts]:
        desk = self._desk
        paused = dict(await desk.rows("paused"))
        now = desk.now()
        found: list[tuple[str, str, int, float | None]] = []
        for status in ("scheduled", "ready", "blocked", "running", "waiting"):
            for queue, count, oldest_s in await desk.rows(f"queue_{status}", now=now):
                found.append((queue, status, count, oldest_s))
        return assemble_counts(paused, found)


class Upkeep:
    """See `contract.Upkeep`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def prune(self, limit: int, now_us: int | None = None) -> int:
        return await self._desk.run("prune", prune_max=limit, now=self._desk.now(now_us))

    async def findings(self) -> list[Finding]:
        return [*await self._of_server(), *await self._of_settings(), *await self._of_transactions()]

    async def standing(self) -> Standing:
        desk = self._desk
        found = (await desk.rows("standing", late_s=OVERDUE_S, now=desk.now()))[0]
        now, quarantined, overdue, ownerless, oldest_s = found
        ready = [
            ReadyProgram(program, version, queue, count, max(0.0, age_s))
            for program, version, queue, count, age_s in await desk.rows("ready_programs", now=desk.now())
        ]
        return Standing(now, quarantined, overdue, oldest_s if overdue else 0.0, ownerless, ready)

    async def _of_server(self) -> list[Finding]:
        desk = self._desk
        before_us = desk.world.wall_us()
        version, standby, server_us, xid_age = (await desk.rows("server"))[0]
        here_us = (before_us + desk.world.wall_us()) // 2
        found: list[Finding] = [("ok", "postgres", f"version {version}")]
        if standby:
            found.append(("problem", "standby", "this server is a standby and refuses writes; connect to the primary"))
        skew_s = (here_us - server_us) / 1_000_000
        if abs(skew_s) > _SKEW_S:
            ahead = "ahead of" if skew_s > 0 else "behind"
            found.append(("warning", "clock", f"this machine's clock is {abs(skew_s):.1f} s {ahead} the server's"))
        if xid_age > _XID_AGE_WARN:
            level = "problem" if xid_age > _XID_AGE_PROBLEM else "warning"
            found.append(
                (level, "transaction ids", f"the oldest is {xid_age:,} old; at 2,147,483,648 the server stops: VACUUM")
            )
        return found

    async def _of_settings(self) -> list[Finding]:
        values = dict(await self._desk.rows("settings"))
        found = [finding for name, value in sorted(values.items()) for finding in judged(name, value)]
        return found or [("ok", "durability", "a commit is on disk before it is acknowledged")]

    async def _of_transactions(self) -> list[Finding]:
        cost = "vacuum cannot remove what has died since, and claims become slower and slower"
        found: list[Finding] = []
        for pid, application, user, state, age_s in await self._desk.rows("old_transactions", age_s=OLD_TRANSACTION_S):
            who = f"process {pid} ({application or 'unnamed'}, user {user}, {state})"
            found.append(
                ("warning", "old transaction", f"{who} has held one open for {age_s / 60:.0f} minutes: {cost}")
            )
        for name, owner, age_s in await self._desk.rows("old_prepared", age_s=OLD_TRANSACTION_S):
            who = f"{name!r} of {owner} was prepared {age_s / 60:.0f} minutes ago and never ended"
            found.append(("warning", "prepared transaction", f"{who}: {cost}"))
        return found


def judged(name: str, value: str) -> Iterator[Finding]:
    """What to say of a server setting."""
    if name in ("fsync", "full_page_writes") and value == "off":
        yield ("problem", name, f"{name} is off: a crash of the machine can destroy the database")
    elif name == "synchronous_commit" and value == "off":
        yield ("warning", name, "synchronous_commit is off: a crash loses the last acknowledged commits")
    elif name == "data_sync_retry" and value == "on":
        yield ("warning", name, "data_sync_retry is on: after a failed fsync the server goes on as if all were well")
    elif name == "autovacuum" and value == "off":
        yield ("warning", name, "autovacuum is off: dead rows stay, and claims become slower and slower")
