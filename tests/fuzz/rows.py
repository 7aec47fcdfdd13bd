"""Rows that somebody has edited by hand: a worker, and whoever looks, must get on with the rest."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

import psycopg

from outlast import Engine
from outlast.errors import OutlastError
from outlast.testing import TooManySteps, by_hand, clock_of, drain, drain_alarms, fire_timeouts
from tests.fuzz.nasty import JSON_TEXTS, TEXTS, mutated
from tests.fuzz.oracle import Finding, brief, politely
from tests.model import programs
from tests.model.programs import Counter, described, errand

TABLES: Final = ("instances", "journal", "signals", "schedules", "objects", "alarms", "calls", "tags", "acts", "logs")
NEIGHBOURS: Final = 3
_SPARED: Final = " WHERE correlation_key IS NULL OR substr(correlation_key, 1, 9) <> 'neighbour'"
_MOMENTS: Final = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
_WHOLES: Final = (0, 1, -1, 2, 100, 2**31 - 1, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63), 10**15, 4 * 10**18)
_REALS: Final = (0.0, -1.0, 1e-9, 1e18, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
_WORDS: Final = (
    "ready", "running", "waiting", "done", "failed", "scheduled", "blocked", "quarantined", "cancelled", "retrying",
    "compensated", "step", "signal", "input", "child", "sleep", "workflow", "~errand", "start", "woken", "run", "all",
    "none", "skip", "queue", "* * * * *", "0 0 30 2 *", "Mars/Base", "k:", "r:x", '["a"]', '{"plan":[]}', '{"id":"x"}',
    '{"plan":[["await",["a"],null]],"at":99,"heard":[]}', '{"plan":{},"at":-1}', '{"type":1}', '[{"cancelled":1}]', "5",
    '"x"',
)  # fmt: skip


class Place(Protocol):
    """A database in which everything that there is has been made once, and of which each case gets a copy."""

    def fresh(self) -> str:
        """The URL of a fresh copy."""

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement on that copy, with `?` for values and `{table}` for names of tables."""


class Files:
    """Copies of one SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._model = folder / "model.db"
        self._copy = folder / "copy.db"
        asyncio.run(furnish(f"sqlite:///{self._model}"))

    def fresh(self) -> str:
        for old in self._copy.parent.glob("copy.db*"):
            old.unlink()
        shutil.copyfile(self._model, self._copy)
        return f"sqlite:///{self._copy}"

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        for table in TABLES:
            text = text.replace("{" + table + "}", f"outlast_{table}")
        with closing(sqlite3.connect(self._copy, isolation_level=None)) as connection:
            return connection.execute(text, values).fetchall()


class Schemas:
    """One Postgres database; each copy is what was there, put back."""

    def __init__(self, url: str) -> None:
        self._url = url
        asyncio.run(furnish(url))
        self._connection = psycopg.connect(url, autocommit=True)
        self._tables = [
            name
            for (name,) in self._connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'outlast'")
            if name != "migrations"
        ]
        self._connection.execute("CREATE SCHEMA model")
        for name in self._tables:
            self._connection.execute(f"CREATE TABLE model.{name} AS TABLE outlast.{name}")  # type: ignore[arg-type]

    def fresh(self) -> str:
        with self._connection.transaction():
            for name in self._tables:
                self._connection.execute(f"DELETE FROM outlast.{name}")  # type: ignore[arg-type]
                self._connection.execute(f"INSERT INTO outlast.{name} SELECT * FROM model.{name}")  # type: ignore[arg-type]
        return self._url

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        for table in TABLES:
            text = text.replace("{" + table + "}", f"outlast.{table}")
        found = self._connection.execute(text.replace("?", "%s"), values)  # type: ignore[arg-type]
        return found.fetchall() if found.description else []

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


async def furnish(url: str) -> None:
    """Something of each sort, at rest: what runs next, what waits, what has ended, and what belongs to it."""
    async with by_hand(url=url, programs=programs.ALL) as engine:
        robot = await engine.start(described("robot", [["await", ["a"], 60], ["next"]]), correlation_key="robot")
        gatherer = await engine.start(described("robot", [["gather", "a", 2]]), tags={"t": "1"})
        await engine.start(described("robot", [["spawn", [["job", ["ok"]], ["job", ["later", "ok"]]], None, 600]]))
        await engine.start(described("flow", [["act", "ok"], ["charge"], ["act", "flaky"], ["wait", "a", 60]]))
        asker = await engine.start(described("flow", [["act", "ok"], ["ask", "boss", None]]), correlation_key="asker")
        await engine.start(described("flow", [["child", "job", ["later", "ok"]], ["sleep", 600]]))
        await engine.start(errand.new(plan=["boom", "boom", "boom"]), correlation_key="lost")
        await engine.start(errand.new(plan=["ok"]), correlation_key="won", tags={"t": "1"})
        await drain(engine, with_scheduled=False)
        await engine.signal(gatherer, "a", 1)
        await engine.signal(robot, "b", {"x": [1]}, dedup_key="d")
        await engine.pause(asker.id, "look")
        await engine.resume(asker.id)
        await engine.start(errand.new(plan=["ok"]), concurrency_key="gate", correlation_key="gated")
        await engine.start(errand.new(plan=["ok"]), schedule_in=600)
        await engine.start(errand.new(plan=["ok"]), fair_key="fair")
        counter = engine.object(Counter, "x")
        await counter.add(1)
        await counter.remind("first", 60)
        await engine.schedule(errand.new(plan=["ok"]), "0 * * * *", name="hourly")
        for number in range(NEIGHBOURS):
            await engine.start(errand.new(plan=["ok"]), correlation_key=f"neighbour:{number}", priority=9)


class Tampering:
    """Edits a place, and lets an engine live with it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._place.fresh()
        self._columns = {table: self._columns_of(table) for table in TABLES}
        self.refused = 0

    def _columns_of(self, table: str) -> list[tuple[str, Any]]:
        if isinstance(self._place, Files):
            found = self._place.query(f"PRAGMA table_info({{{table}}})")
            return [(row[1], row[2].lower()) for row in found]
        return self._place.query(  # type: ignore[return-value]
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'outlast' AND table_name = ?",
            table,
        )

    def case(self, dice: Random) -> None:
        """One edit, or some, and then everything that looks at rows."""
        url = self._place.fresh()
        edits = [edit for _ in range(dice.choice((1, 1, 2, 3))) if (edit := self._edit(dice)) is not None]
        if edits:
            asyncio.run(self._live(url, edits, dice))
        else:
            self.refused += 1

    def _edit(self, dice: Random) -> Any:
        table = dice.choice(("instances",) * 6 + TABLES)
        name, kind = dice.choice(self._columns[table])
        if (table, name) == ("instances", "id"):  # nothing else is that row any more.
            return None
        where = self._victim(table, dice)
        if where is None:
            return None
        new = self._hostile(dice, kind, table, name, where)
        try:
            self._place.query(f"UPDATE {{{table}}} SET {name} = ? WHERE {where}", new)
        except (sqlite3.Error, psycopg.Error, OverflowError, UnicodeEncodeError, ValueError):
            return None
        return table, name, new, where

    def _victim(self, table: str, dice: Random) -> str | None:
        key = {"instances": "id", "signals": "id", "schedules": "name", "objects": "id", "alarms": "name"}.get(table)
        key = key or {"journal": "key", "tags": "instance", "acts": "id", "calls": "id"}.get(table)
        if key is None or key not in [name for name, _ in self._columns[table]]:
            return None
        spared = (
            " WHERE correlation_key IS NULL OR substr(correlation_key, 1, 9) <> 'neighbour'"
            if table == "instances"
            else ""
        )
        found = self._place.query(f"SELECT {key} FROM {{{table}}}{spared} ORDER BY {key}")
        return None if not found else f"{key} = '{dice.choice(found)[0]}'"

    def _hostile(self, dice: Random, kind: str, table: str, name: str, where: str) -> Any:
        if dice.random() < 0.1:
            return None
        if "int" in kind:
            return dice.choice(_WHOLES) + (0 if dice.random() < 0.8 else dice.randrange(10))
        if kind in ("real", "double precision"):
            return dice.choice(_REALS)
        if kind == "boolean":
            return dice.random() < 0.5
        if kind == "timestamp with time zone":
            return dice.choice(
                (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
            )
        match dice.randrange(4):
            case 0:
                new = dice.choice(TEXTS)
            case 1:
                new = dice.choice(JSON_TEXTS)
            case 2:
                new = dice.choice(_WORDS)
            case _:
                old = self._place.query(f"SELECT {name} FROM {{{table}}} WHERE {where}")
                new = mutated(dice, str(old[0][0])) if old else ""
        return new.encode() if kind in ("bytea", "blob") else new

    async def _live(self, url: str, edits: Any, dice: Random) -> None:
        with politely(told=edits):
            async with asyncio.timeout(20), by_hand(url=url, programs=programs.ALL, log_capture="off") as engine:
                await self._look(engine, edits, closely=dice.random() < 0.2)
                await self._work(engine, edits)
                await self._look(engine, edits, closely=True)

    async def _work(self, engine: Engine, edits: Any) -> None:
        for jump in (0, 61, 3_700):
            clock_of(engine).jump(jump)
            try:
                await drain(engine, with_scheduled=False, max_steps=150)
            except TooManySteps as error:
                raise Finding(f"no end after {edits}: {error}") from error
            await drain_alarms(engine, with_scheduled=False)
        await fire_timeouts(engine)
        for number in range(NEIGHBOURS):
            found = await engine.find(f"neighbour:{number}")
            if found is None or found.status != "done":
                raise Finding(f"neighbour {number} is {found and found.status} after {brief(edits)}")

    async def _look(self, engine: Engine, edits: Any, *, closely: bool) -> None:
        """Whoever looks sees all rows, whatever one of them holds."""
        looks = {
            "list": lambda: engine.list(limit=1_000),
            "totals": lambda: engine.totals(),
            "by program": lambda: engine.totals(by="program"),
            "queues": lambda: engine.queues(),
            "findings": lambda: engine.findings(),
            "standing": lambda: engine.standing(),
            "schedules": lambda: engine.schedules(),
            "pending inputs": lambda: engine.pending_inputs(),
            "objects": lambda: engine.list_objects("model.Counter"),
            "alarms": lambda: engine.list_alarms(Counter),
            "counts": lambda: engine.count_objects(),
            "nodes": lambda: engine.nodes(),
        }
        found = {}
        for name, look in looks.items():
            try:
                found[name] = await look()
            except OutlastError as error:
                raise Finding(
                    f"{name} shows nothing at all after {brief(edits)}: {type(error).__name__}: {error}"
                ) from error
        for instance in found["list"] if closely else ():  # type: ignore[attr-defined]
            for what in (engine.get, engine.signals, engine.steps, engine.acts, engine.logs, engine.children):
                try:
                    json.dumps(await what(instance.id), default=str)
                except OutlastError as error:
                    raise Finding(f"{what.__name__} of {instance.id} after {brief(edits)}: {error}") from error
