"""Peers' bugs with what comes from outside: too many rows, values that cannot be stored, errors that look like ours."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from outlast import Await, Done, Engine, InstanceFailed, Machine, Object, Spawn, handler, job, step
from outlast._store.contract import Store
from outlast.errors import ConfigError, StoreUnavailable
from tests.engine.given import SOON_S, Ear, Table, own_connection, soon
from tests.scars.given import only_postgres, waits_for_lock
from tests.store.given import Given

ROWS = 100_000


async def test_parameter_ceiling_100k_rows(given: Given, store: Store) -> None:
    """gen_durable #3: a batch had a parameter for each column of each row; above 65,535 of them, Postgres refuses.

    Here a batch is a fixed number of arrays, or one JSON text, however many rows it has.
    """
    state = "{}"
    rows = [given.new(state=state) for _ in range(ROWS)]

    assert await store.instances.add(rows) == []

    assert await store.instances.totals() == {"ready": ROWS}


@only_postgres
async def test_insert_shared_new_keys_deadlock(given: Given, store: Store, watcher: asyncpg.Connection) -> None:
    """gen_durable #12: two batches inserted the same new keys in opposite orders, and each waited for the other's.

    Here rows are inserted in the order of their keys: who waits for one key has no later one yet.
    """
    first, last = given.new(key="a"), given.new(key="b")
    with own_connection(given.database.url) as connection:
        place: Any = store.enlist(connection)
        connection.execute("SET lock_timeout = '500ms'")
        place.add([first], ())
        adding = asyncio.ensure_future(store.instances.add([given.new(key="b"), given.new(key="a")]))
        await waits_for_lock(watcher)
        assert place.add([last], ()) == []
        connection.commit()

    assert sorted(held.holder for held in await soon(adding)) == sorted([first.id, last.id])


class Unstorable:
    """Nothing that JSON knows."""


class Sloppy(Machine, name="scars.sloppy"):
    """Gives back what cannot be stored, in each of the outcomes that carry something."""

    how: str
    left: Any = None

    @step
    async def start(self, ctx: Any) -> Any:
        if self.how == "state":
            self.left = Unstorable()
            return Await("go", then=self.start)
        return Done(Unstorable()) if self.how == "done" else Spawn([Unstorable()], then=self.start)  # type: ignore[list-item]


@job(name="scars.unstorable", max_attempts=5)
async def unstorable() -> Any:
    return {"deep": [Unstorable()]}


@pytest.mark.parametrize("how", ["job", "done", "state", "spawn"])
async def test_unencodable_result_crash_loop(engine: Engine, table: Table, how: str) -> None:
    """gen_durable #15, Durable's third bug: a result that could not be encoded raised where nobody caught it; the
    worker crashed, the lease ran out, the step ran again, and so on for ever.

    Here outcomes are encoded within the step: what cannot be is an error of the step, at once and once.
    """
    handle = await engine.start(unstorable.new() if how == "job" else Sloppy(how=how))

    with pytest.raises(InstanceFailed) as caught:
        await handle.result(SOON_S)

    assert caught.value.error is not None
    assert "Unstorable" in caught.value.error["message"]
    found = await handle.get()
    assert (found.epoch, found.crashes, table.seen(handle.id, "commits")) == (1, 0, 1)


class Box(Object, name="scars.Box"):
    @handler
    async def touch(self) -> None: ...


@job(name="scars.quiet")
async def quiet() -> None: ...


async def test_empty_id_ghost_execution(engine: Engine) -> None:
    """DBOS-py #759: an empty workflow id was taken as one; a workflow of that id ran about 96 times a day for a
    month.

    Here whatever names something is 1 to 200 printable characters, or is refused before anything is stored.
    """
    calls: list[Callable[[str], Any]] = [
        lambda name: engine.start(quiet.new(), correlation_key=name),
        lambda name: engine.start(quiet.new(), concurrency_key=name),
        lambda name: engine.start(quiet.new(), queue=name),
        lambda name: engine.schedule(quiet.new(), "* * * * *", name=name),
        lambda name: engine.signal("k", name),
        lambda name: engine.signal(name, "go"),
        lambda name: engine.object(Box, name).touch(),
        lambda name: engine.get(name),
    ]

    for name in ("", " ", "\n", "a\n", "a\x00", "\u202e"):
        for call in calls:
            with pytest.raises(ConfigError):
                await call(name)

    assert await engine.totals() == {}
    assert list(await engine.schedules()) == []


ALIKE = {
    "sqlite": lambda: sqlite3.OperationalError("database is locked"),
    "postgres": lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
    "connection": lambda: ConnectionResetError("connection reset by peer"),
    "ours": lambda: StoreUnavailable("the database is away"),
}


@pytest.mark.parametrize("kind", ALIKE)
async def test_user_exception_looks_like_db_outage(engine: Engine, kind: str) -> None:
    """DBOS, `test_get_result_no_hang...`: a workflow had failed with a database's error; whoever asked for its
    result was told so, took it for an outage of the engine's own database, and asked again for ever.

    Here an error of user code is data: it ends the step, is raised as InstanceFailed, and no loop of ours waits.
    """
    runs: list[str] = []

    @job(name="scars.alike", max_attempts=1)
    async def alike() -> None:
        runs.append(kind)
        raise ALIKE[kind]()

    ear = Ear(engine)
    handle = await engine.start(alike.new())
    for _ in range(2):
        with pytest.raises(InstanceFailed) as caught:
            await soon(handle.result())
        assert caught.value.error is not None
        assert caught.value.error["message"] == str(ALIKE[kind]())

    assert runs == [kind]
    assert ear.all("store.away") == ear.all("loop.failed") == []
