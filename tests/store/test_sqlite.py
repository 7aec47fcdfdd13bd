"""What only the store on SQLite has: a file, one writer thread, and plans that its indexes serve."""

import asyncio
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast._store.sqlite import faults, files, upkeep, writer
from outlast._store.sqlite.files import database_path
from outlast._store.sqlite.store import SqliteStore
from outlast._store.statements import parse
from outlast.config import Config
from outlast.errors import (
    ConfigError,
    EngineStateError,
    SchemaError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from tests.store.conftest import OpenSqlite
from tests.store.given import KNOWN, Database, Given, PinnedWorld, settlement


@pytest.fixture
async def store(open_sqlite: OpenSqlite) -> SqliteStore:
    return await open_sqlite()


@pytest.fixture
def given(store: SqliteStore, empty_sqlite_url: str) -> Given:
    return Given(store, PinnedWorld(), Database(empty_sqlite_url, lambda: None))  # type: ignore[arg-type, return-value]


@contextmanager
def another_process(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection as another process would have it."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


def hot_statements() -> list[Any]:
    """Statements that promise an index, with its name."""
    found = []
    for file in resources.files("outlast._store.sqlite.sql").iterdir():
        text = file.read_text() if file.name.endswith(".sql") else ""
        parts = re.split(r"^(?=-- name: )", text, flags=re.MULTILINE)
        for part in parts:
            promised = re.search(r"^-- index: ([^;\n]+)", part, re.MULTILINE)
            if promised and not promised[1].startswith("none"):
                (statement,) = parse(part, schema="outlast")
                found.append(pytest.param(statement.text, promised[1], id=statement.name))
    return found


@pytest.mark.parametrize(("text", "promised"), hot_statements())
@pytest.mark.parametrize("rows", [0, 1_000])
async def test_a_statement_walks_the_index_that_it_promises(
    given: Given, path: Path, text: str, promised: str, rows: int
) -> None:
    """With and without statistics, and with many rows that have ended, as it is in life."""
    await given.store.claims.commit([settlement(claim) for claim in await given.claimed(rows)])
    await given.added(min(rows, 50))

    with another_process(path) as connection:
        if rows:
            connection.execute("ANALYZE")
        names = re.findall(r":(\w+)", text)
        plan = "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(names)))

    tables = "instances|signals|tags|objects|alarms|calls"
    ours = {f"outlast_{table}" for table in tables.split("|")} | set(
        re.findall(rf"outlast_(?:{tables}) AS (\w+)", text)
    )
    assert not re.findall(rf"SCAN (?:{'|'.join(sorted(ours))})\b(?! USING| VIRTUAL)[^\n]*", plan), plan
    if not text.startswith("INSERT"):  # Of the checks on insert, the plan says nothing.
        own = {
            "primary key": "INDEX sqlite_autoindex_outlast_instances_1",
            "objects' own key": "INDEX sqlite_autoindex_outlast_objects_1",
            "alarms' own key": "PRIMARY KEY (type=? AND id=?",
            "calls' own key": "INDEX sqlite_autoindex_outlast_calls_1",
        }
        for name in re.findall(rf"{'|'.join(own)}|(?:instances|objects|alarms|calls)_\w+", promised):
            assert own.get(name, f"outlast_{name}") in plan, plan


async def test_claims_come_from_the_index_in_order(given: Given, path: Path) -> None:
    """No sorting: a claim from a deep queue reads no more rows than it takes."""
    (text,) = [case.values[0] for case in hot_statements() if case.id == "take"]

    with another_process(path) as connection:
        values = dict.fromkeys(re.findall(r":(\w+)", text))
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]

    assert not [line for line in plan if "TEMP B-TREE" in line]


async def test_the_next_line_at_a_gate_is_found_without_reading_the_last(given: Given, path: Path) -> None:
    (text,) = [case.values[0] for case in hot_statements() if case.id == "next_line"]
    await given.added(1_000, concurrency_key="a")
    await given.added(2, concurrency_key="a", queue="other")
    while (await given.store.timers.promote(1_000)).promoted:
        pass
    work = 0

    def count() -> None:
        nonlocal work
        work += 1

    with another_process(path) as connection:
        values = {"gate": "k:a", "queue": "default", "program": "greet", "version": 1}
        connection.execute(text, values).fetchall()  # reads the schema.
        connection.set_progress_handler(count, 10)
        assert connection.execute(text, values).fetchall() == [("other", "greet", 1)]

    assert work < 10, "tens of steps of SQLite's machine"


async def test_connections_are_as_safe_as_sqlite_can_be(store: SqliteStore) -> None:
    for thread in (store._writer, store._reader):
        for pragma, wanted in [
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("wal_autocheckpoint", 0),
            ("mmap_size", 0),
            ("busy_timeout", 0),
        ]:
            text = f"PRAGMA {pragma}"
            found = await thread.read(lambda connection, text=text: connection.execute(text).fetchone())  # type: ignore[misc]
            assert found[0] == wanted, pragma


async def test_the_file_belongs_to_its_owner_alone(store: SqliteStore, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_closing_leaves_one_sound_file(open_sqlite: OpenSqlite, path: Path) -> None:
    store = await open_sqlite()
    await store.queues.pause("mail")
    await store.close()

    assert [item.name for item in path.parent.iterdir()] == [path.name]
    with another_process(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT name FROM outlast_queues").fetchall() == [("mail",)]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///app.db", Path("app.db").absolute()),
        ("sqlite:///data/app.db", Path("data/app.db").absolute()),
        ("sqlite:////var/lib/app.db", Path("/var/lib/app.db")),
        ("sqlite:///~/app.db", Path("~/app.db").expanduser()),
        ("sqlite:///with space and ünïcode.db", Path("with space and ünïcode.db").absolute()),
    ],
)
def test_a_url_names_a_file_or_memory(url: str, path: Path | None) -> None:
    assert database_path(url) == path


@pytest.mark.parametrize("url", ["sqlite:app.db", "sqlite:/app.db", "sqlite://host/app.db", "sqlite:///a.db?mode=ro"])
def test_a_url_that_is_not_understood_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write sqlite:///relative\.db"):
        database_path(url)


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///folder/", "sqlite:///app\0.db"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no file"):
        database_path(url)


async def test_a_missing_folder_is_named(open_sqlite: OpenSqlite, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder of the database does not exist"):
        await open_sqlite(f"sqlite:///{tmp_path}/missing/app.db")


async def test_a_folder_is_no_database(open_sqlite: OpenSqlite, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigError, match="is a folder"):
        await open_sqlite(f"sqlite:///{tmp_path}/folder")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
async def test_a_network_file_system_is_refused(
    open_sqlite: OpenSqlite, monkeypatch: pytest.MonkeyPatch, path: Path, kind: str
) -> None:
    monkeypatch.setattr(files, "mounts", lambda: {Path("/"): "ext4", path.parent: kind, path / "else": "ext4"})

    with pytest.raises(ConfigError, match=rf"network file system \({kind}\).*use Postgres"):
        await open_sqlite()

    assert not path.exists()


async def test_a_link_into_a_network_file_system_is_refused(
    open_sqlite: OpenSqlite, monkeypatch: pytest.MonkeyPatch, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    path.symlink_to(tmp_path / "far" / "app.db")
    monkeypatch.setattr(files, "mounts", lambda: {Path("/"): "ext4", tmp_path / "far": "nfs"})

    with pytest.raises(ConfigError, match="network file system"):
        await open_sqlite()


async def test_a_file_that_is_mounted_by_itself_is_refused(
    open_sqlite: OpenSqlite, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    """As containers are given one: the log would lie in the container, and go with it."""
    path.touch()
    monkeypatch.setattr(files, "mounts", lambda: {Path("/"): "overlay", path: "ext4"})

    with pytest.raises(ConfigError, match="mount its folder"):
        await open_sqlite()


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="only Linux tells")
def test_the_system_tells_what_is_mounted() -> None:
    found = files.mounts()

    assert found[Path("/proc")] == "proc"
    assert Path("/") in found


def test_mounts_may_have_spaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "mounts"
    told.write_text("disk /a\\040b ext4 rw 0 0\nbroken\nshare /a\\040b/c nfs4 rw 0 0\n")
    monkeypatch.setattr(files, "_MOUNTS", told)

    assert files.mounts() == {Path("/a b"): "ext4", Path("/a b/c"): "nfs4"}


def test_a_system_that_tells_nothing_hinders_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_MOUNTS", tmp_path / "missing")

    files.refuse_place(tmp_path / "app.db")


async def test_a_foreign_file_is_refused_and_left_alone(open_sqlite: OpenSqlite, path: Path) -> None:
    path.write_bytes(b"This is a letter to my aunt, and no database at all." * 100)

    with pytest.raises(StoreCorrupt, match="not a sound SQLite database"):
        await open_sqlite()

    assert path.read_bytes().startswith(b"This is a letter")


async def test_a_damaged_file_is_reported_and_not_looped_over(store: SqliteStore, given: Given, path: Path) -> None:
    await given.added(200)
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    damaged = SqliteStore(Config(url=f"sqlite:///{path}"), PinnedWorld())

    async def use() -> None:
        try:
            await damaged.open()
            await damaged.instances.totals()
        finally:
            await damaged.close()

    with pytest.raises((StoreCorrupt, SchemaError)):
        await use()


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
async def test_a_file_that_was_taken_away_is_used_no_more(
    store: SqliteStore, given: Given, path: Path, replaced: bool
) -> None:
    """What is open under no name, or under another's, nobody else reads: what was stored there would be lost."""
    (id,) = await given.added()
    node = await given.node()
    renewer = store.leases.renewer()
    aside = path.with_name("aside.db")
    path.rename(aside)
    if replaced:
        path.write_bytes(aside.read_bytes())

    calls = [given.added, store.instances.totals, lambda: store.claims.take("default", node, KNOWN, 10, 5.0)]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="removed or replaced while it was open"):
            await call()
    with pytest.raises(StoreUnavailable, match="removed or replaced while it was open"):
        await asyncio.to_thread(renewer.renew, node)

    aside.replace(path)
    assert await asyncio.to_thread(renewer.renew, node)
    assert [claim.id for claim in await given.taken()] == [id]
    await asyncio.to_thread(renewer.close)


async def test_a_log_that_was_taken_away_is_used_no_more(store: SqliteStore, given: Given, path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    aside = path.with_name("aside.db-wal")
    log.rename(aside)

    with pytest.raises(StoreUnavailable, match=r"outlast\.db-wal"):
        await given.added()

    aside.replace(log)
    await given.added()


async def test_what_is_written_to_a_log_that_goes_away_meanwhile_is_not_acknowledged(
    store: SqliteStore, path: Path
) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO outlast_queues (name, paused_us) VALUES ('mail', 0)")
        path.with_name(path.name + "-wal").unlink()  # as another process does that believes to be alone.

    with pytest.raises(StoreUnavailable, match=r"outlast\.db-wal"):
        await store._writer.write(write)


async def test_a_folder_that_becomes_no_folder_ends_no_thread(store: SqliteStore, given: Given, path: Path) -> None:
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    path.parent.touch()

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await given.added()

    path.parent.unlink()
    aside.rename(path.parent)
    await given.added()


async def test_engines_of_one_process_do_not_drop_each_others_locks(open_sqlite: OpenSqlite, path: Path) -> None:
    """The next process that came and went would remove the log of those without a lock."""
    store = await open_sqlite()
    await open_sqlite()

    def totals() -> str:
        text = (
            f"import sqlite3; print(sqlite3.connect({str(path)!r}).execute('SELECT * FROM outlast_queues').fetchall())"
        )
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.strip()

    assert await asyncio.to_thread(totals) == "[]"
    await store.queues.pause("mail")
    assert "mail" in await asyncio.to_thread(totals)


async def test_tables_of_a_later_release_are_refused(open_sqlite: OpenSqlite, path: Path) -> None:
    await (await open_sqlite()).close()
    with another_process(path) as connection:
        connection.execute("INSERT INTO outlast_migrations VALUES (999)")

    with pytest.raises(SchemaError, match="version 999"):
        await open_sqlite()


async def test_a_database_in_memory_works_without_a_file(open_sqlite: OpenSqlite, tmp_path: Path) -> None:
    store = await open_sqlite("sqlite://")
    given = Given(store, PinnedWorld(), Database("sqlite://", lambda: None))  # type: ignore[arg-type, return-value]

    id = await given.ended()

    assert await given.status(id) == "done"
    assert store.describe().endswith("in memory")
    assert [finding for finding in await store.upkeep.findings() if finding[0] == "problem"] == []
    assert list(tmp_path.iterdir()) == []


async def test_writes_that_meet_share_a_commit(store: SqliteStore, given: Given) -> None:
    statements: list[str] = []
    await store._writer.read(lambda connection: connection.set_trace_callback(statements.append))

    await asyncio.gather(*(store.instances.add([given.new()]) for _ in range(100)))

    assert statements.count("COMMIT") <= 3


async def test_one_bad_write_does_not_take_its_neighbours_along(store: SqliteStore, given: Given) -> None:
    rows = [given.new() for _ in range(5)]
    rows[2].priority = "urgent"  # type: ignore[assignment]

    answers = await asyncio.gather(*(store.instances.add([row]) for row in rows), return_exceptions=True)

    assert [type(answer) for answer in answers] == [list, list, StoreError, list, list]
    assert await store.instances.totals() == {"ready": 4}


async def test_a_number_that_sqlite_cannot_hold_is_a_store_error(store: SqliteStore, given: Given) -> None:
    with pytest.raises(StoreError):
        await store.instances.add([given.new(priority=2**80)])


async def test_another_processs_transaction_is_waited_for(store: SqliteStore, given: Given, path: Path) -> None:
    with another_process(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        adding = asyncio.ensure_future(store.instances.add([given.new()]))
        assert await store.instances.totals() == {}  # Readers do not wait.
        assert not adding.done()

        connection.execute("COMMIT")

        assert await adding == []


async def test_patience_with_another_process_ends(open_sqlite: OpenSqlite, given: Given, path: Path) -> None:
    store = await open_sqlite(statement_timeout=0.1)
    with another_process(path) as connection:
        connection.execute("BEGIN IMMEDIATE")

        answers = await asyncio.gather(*(store.instances.add([given.new()]) for _ in range(20)), return_exceptions=True)

        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert len({id(answer) for answer in answers}) == 20
    assert await store.instances.add([given.new()]) == []


async def test_a_read_only_database_says_so(store: SqliteStore, given: Given) -> None:
    await store._writer.read(lambda connection: connection.execute("PRAGMA query_only = ON"))

    with pytest.raises(StoreReadOnly):
        await store.instances.add([given.new()])

    assert await store.instances.totals() == {}


async def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space(store: SqliteStore, given: Given) -> None:
    kept = await given.one()
    await store._writer.read(lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchone())

    with pytest.raises(StoreFull):
        await store.instances.add([given.new(state=f'"{"x" * 200_000}"')])
    small = await asyncio.gather(
        *(store.instances.add([given.new(state=f'"{"x" * size}"')]) for size in (1, 200_000, 2)), return_exceptions=True
    )

    assert [type(answer) for answer in small] == [list, StoreFull, list]
    assert await given.status(kept) == "ready"
    await store._writer.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await given.one(state=f'"{"x" * 200_000}"')


async def test_missing_tables_are_named_with_the_remedy(store: SqliteStore, path: Path) -> None:
    with another_process(path) as connection:
        connection.execute("DROP TABLE outlast_instances")

    with pytest.raises(SchemaError, match="outlast migrate"):
        await store.instances.totals()


async def test_the_log_is_folded_back_when_it_is_large(
    store: SqliteStore, given: Given, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 100_000)
    log = path.with_name(path.name + "-wal")

    for _ in range(5):
        await given.added(200)

    await store._writer.read(lambda connection: None)
    assert log.stat().st_size < 200_000


async def test_of_a_database_behind_a_link_the_log_is_known(
    open_sqlite: OpenSqlite, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps it beside the file itself; and the file is made there, too."""
    (tmp_path / "far").mkdir()
    path.symlink_to(tmp_path / "far" / "app.db")
    log = tmp_path / "far" / "app.db-wal"
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 0)
    store = await open_sqlite()

    async def is_folded() -> bool:
        store._writer._fold_above_bytes = 0  # where somebody was just reading, it would wait for the log to grow.
        await store.queues.pause("mail")
        await store._writer.read(lambda connection: None)
        return log.stat().st_size == 0

    await eventually_async(is_folded)
    log.unlink()
    with pytest.raises(StoreUnavailable, match=r"app\.db-wal"):
        await store.queues.pause("post")


async def tries_to_fold(store: SqliteStore) -> list[str]:
    """A list that each try of its writer to fold the log is added to."""
    tries: list[str] = []

    def note(text: str) -> None:
        if "checkpoint" in text:
            tries.append(text)

    await store._writer.read(lambda connection: connection.set_trace_callback(note))
    return tries


async def test_a_reader_that_pins_the_log_holds_nobody_up(
    store: SqliteStore, given: Given, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 50_000)
    tries = await tries_to_fold(store)
    with another_process(path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM outlast_instances").fetchone()

        for _ in range(10):
            await given.added(100)

        log_bytes = path.with_name(path.name + "-wal").stat().st_size
        # Each vain try puts the next one off until the log has grown by a quarter of the limit.
        assert 1 <= len(tries) <= log_bytes // 12_500
        connection.execute("ROLLBACK")

        await given.added(100)
        await store._writer.read(lambda connection: None)
        assert path.with_name(path.name + "-wal").stat().st_size < 50_000, "it is folded soon after"


async def test_after_vain_tries_the_log_is_folded_no_later_than_before(
    store: SqliteStore, given: Given, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has folded it meanwhile: what was put off is no longer."""
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 50_000)
    log = path.with_name(path.name + "-wal")
    with another_process(path) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM outlast_instances").fetchone()
        while log.stat().st_size < 300_000:
            await given.added(100)
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tries = await tries_to_fold(store)

    largest = 0
    while not tries:
        await given.added(10)
        await store._writer.read(lambda connection: None)
        largest = max(largest, log.stat().st_size)

    assert largest < 100_000


async def test_only_the_writer_checkpoints(store: SqliteStore, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    await store._reader.read(lambda connection: connection.set_trace_callback(statements.append))
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 0)

    await given.added(200)
    await store.instances.totals()
    await store.close()

    assert not [text for text in statements if "checkpoint" in text]


async def test_a_checkpoint_that_fails_costs_no_answer(
    store: SqliteStore, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(action: int, name: str | None, *_: object) -> int:
        asked.append(str(name))
        return sqlite3.SQLITE_DENY if name == "wal_checkpoint" else sqlite3.SQLITE_OK

    await store._writer.read(lambda connection: connection.set_authorizer(refuse))
    monkeypatch.setattr(writer, "WAL_BYTES_MAX", 0)

    await given.added(2)
    await given.added(2)

    assert await store.instances.totals() == {"ready": 4}
    assert "wal_checkpoint" in asked


async def test_a_file_that_cannot_be_opened_is_told_from_one_that_cannot_be_written(
    open_sqlite: OpenSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, kind in [(PermissionError("no"), StoreReadOnly), (OSError("disk gone"), StoreUnavailable)]:

        def refuse(*_: object, error: OSError = error) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(kind):
                await open_sqlite()


async def test_a_journal_that_is_no_log_is_a_problem(store: SqliteStore) -> None:
    await store._reader.close()
    await store._writer.read(lambda connection: connection.execute("PRAGMA journal_mode = DELETE").fetchone())
    store._reader = store.upkeep._desk.reader = store._writer
    del store._writer._files[store._writer._wal]  # as where the file system has no place for a log.

    assert ("problem", "journal") in [finding[:2] for finding in await store.upkeep.findings()]


async def test_the_parents_store_is_refused_after_a_fork(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writer, "process_id", lambda: os.getpid() + 1)

        with pytest.raises(EngineStateError, match="forked"):
            await store.instances.totals()
        await store.close()

    await store.close()


async def test_closing_finishes_what_is_queued(open_sqlite: OpenSqlite, given: Given) -> None:
    store = await open_sqlite()
    rows = [given.new() for _ in range(200)]
    adding = [asyncio.ensure_future(store.instances.add([row])) for row in rows]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*adding) == [[]] * 200
    assert await given.store.instances.totals() == {"ready": 200}


async def test_everybody_who_closes_waits_for_the_end(open_sqlite: OpenSqlite) -> None:
    store = await open_sqlite()

    await asyncio.gather(*(store.close() for _ in range(3)))

    assert not store._writer._thread.is_alive()
    assert not store._reader._thread.is_alive()


async def test_a_close_that_is_cancelled_can_be_repeated(open_sqlite: OpenSqlite) -> None:
    store = await open_sqlite()
    closing_ = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing_.cancel()
    await asyncio.wait([closing_])

    await store.close()


@pytest.mark.parametrize("turns", range(5))
async def test_an_opening_that_is_cancelled_leaves_no_thread(empty_sqlite_url: str, turns: int) -> None:
    store = SqliteStore(Config(url=empty_sqlite_url), PinnedWorld())
    opening = asyncio.ensure_future(store.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])

    await store.close()


async def test_renewals_race_the_close_and_never_hang(open_sqlite: OpenSqlite) -> None:
    for _ in range(10):
        store = await open_sqlite()
        await store.leases.register("n1", "h", 1, 9.0)
        renewer = store.leases.renewer()
        ends: list[type] = []

        def renew_until_closed(renewer: Any = renewer, ends: list[type] = ends) -> None:
            try:
                while renewer.renew("n1"):
                    pass
            except Exception as error:
                ends.append(type(error))

        threads = [threading.Thread(target=renew_until_closed) for _ in range(3)]
        for thread in threads:
            thread.start()
        await store.close()
        for thread in threads:
            await asyncio.to_thread(thread.join, 10)

        assert ends == [StoreUnavailable] * 3


async def test_what_slips_in_after_the_end_is_answered(open_sqlite: OpenSqlite) -> None:
    store = await open_sqlite()
    await store.close()
    store._writer._closed = False  # As for a thread that had looked just before.

    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(store._writer.write_blocking, lambda connection: None)
    store._writer._closed = False
    with pytest.raises(StoreUnavailable):
        await store._writer.read(lambda connection: None)


async def test_an_ear_hears_only_what_others_commit(open_sqlite: OpenSqlite, given: Given) -> None:
    listener = await open_sqlite()
    heard = asyncio.Event()
    await listener.bell.listen(lambda message: heard.set())
    async with asyncio.timeout(10):
        await heard.wait()  # The first look.
    heard.clear()

    await listener.queues.pause("mail")
    await listener._writer.read(lambda connection: listener._writer._look())
    await asyncio.sleep(0)
    assert not heard.is_set()

    await given.one()
    async with asyncio.timeout(10):
        await heard.wait()


@pytest.mark.parametrize(
    ("version", "level"), [((3, 37, 0), "warning"), ((3, 51, 2), "warning"), ((3, 51, 3), "ok"), ((3, 52, 0), "ok")]
)
def test_the_doctor_knows_the_wal_reset_bug(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], level: str
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    assert upkeep.sqlite_finding()[0] == level


async def test_an_old_sqlite_is_refused(empty_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))

    with pytest.raises(ConfigError, match=r"3\.37 or later"):
        await SqliteStore(Config(url=empty_sqlite_url), PinnedWorld()).open()


WORKER = """
import asyncio, sys
from outlast._model import NewInstance, Settlement
from outlast._store.sqlite.store import SqliteStore
from outlast._world import SystemWorld
from outlast.config import Config

async def main(url, node, count):
    world = SystemWorld()
    store = SqliteStore(Config(url=url), world)
    await store.open()
    await store.leases.register(node, "host", 1, 30.0)
    for _ in range(count):
        await store.instances.add([NewInstance(world.new_id(), "p", 1, "default", 0, "run", "{}")])
        for claim in await store.claims.take("default", node, ["p@1"], 3, 5.0):
            stale = (await store.claims.commit([Settlement(claim.id, claim.epoch, "done", 0, "1")])).stale
            assert stale == [], stale
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_processes_share_one_new_file_without_a_busy_error(
    empty_sqlite_url: str, open_sqlite: OpenSqlite
) -> None:
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, empty_sqlite_url, f"n{number}", "40", stderr=asyncio.subprocess.PIPE
        )
        for number in range(4)
    ]

    errors = [(await worker.communicate())[1].decode() for worker in workers]

    assert errors == [""] * 4
    store = await open_sqlite()
    assert (await store.instances.totals()) == {"done": 160}


def test_whom_sqlite_kept_waiting_for_too_long_tries_again() -> None:
    """A process that is frozen while it moves a mark of readers keeps all others out: SQLite gives up after 10 s."""
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = 15

    assert faults.is_busy(error)
    assert type(faults.translated(error)) is StoreUnavailable
