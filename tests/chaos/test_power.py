"""The disk that is left after a power loss, act by act; and what it must still hold."""

from pathlib import Path
from random import Random

import pytest

from chaos.power.disk import SYNC_BEGINS, SYNC_ENDS, TRUNCATE, UNLINK, WRITE, Act, Disk, Loss
from chaos.power.verdict import Promises, broken
from chaos.scenarios.power import watched_disk
from outlast import Engine

FILE, LOG = 1, 2


def act(kind: int, *, file: int = FILE, process: int = 1, offset: int = 0, data: bytes = b"") -> Act:
    return Act(0, kind, file, process, offset, data)


def disk(*acts: Act) -> Disk:
    made = Disk({FILE: bytearray(b"....")})
    for one in acts:
        made.do(one)
    return made


def left(made: Disk, loss: Loss = "all", *, file: int = FILE) -> bytes | None:
    found = made.after(loss, Random(1)).get(file)
    return None if found is None else bytes(found)


def test_what_was_synced_is_there_and_nothing_else() -> None:
    made = disk(
        act(WRITE, data=b"AA"),
        act(SYNC_BEGINS),
        act(WRITE, offset=2, data=b"B"),  # too late for that sync.
        act(SYNC_ENDS),
    )

    assert left(made) == b"AA.."
    assert left(made, "torn") == b"AA.."  # within one sector nothing is torn: it is there, or not.


def test_a_sync_saves_one_file_and_only_its_own_process_ends_it() -> None:
    made = disk(
        act(WRITE, data=b"A"),
        act(WRITE, file=LOG, data=b"L"),
        act(SYNC_BEGINS, file=LOG, process=1),
        act(WRITE, file=LOG, offset=1, data=b"M"),
        act(SYNC_BEGINS, file=LOG, process=2),
        act(SYNC_ENDS, file=LOG, process=1),
    )

    assert left(made) == b"...."
    assert left(made, file=LOG) == b"L"
    made.do(act(SYNC_ENDS, file=LOG, process=2))
    assert left(made, file=LOG) == b"LM"


def test_a_torn_write_ends_between_two_sectors() -> None:
    made = disk(act(WRITE, data=b"x" * 100), act(WRITE, offset=100, data=b"y" * 4_096))

    found = left(made, "torn")

    assert found is not None
    assert found[:100] == b"x" * 100
    assert len(found) % 512 == 0
    assert len(found) < 4_196


def test_any_of_what_was_not_synced_may_be_there_in_its_order() -> None:
    made = disk(*(act(WRITE, offset=n, data=b"x") for n in range(4)), act(TRUNCATE, offset=3))

    found = {bytes(made.after("some", Random(seed))[FILE]) for seed in range(200)}

    assert {b"....", b"xxx", b"x..x", b"..."} <= found


def test_a_deleted_file_may_still_be_there_and_then_nothing_of_the_new_one_is() -> None:
    made = disk(act(UNLINK), act(WRITE, data=b"new"))

    assert left(made) == b"...."
    found = {bytes(made.after("some", Random(seed)).get(FILE, b"gone")) for seed in range(100)}
    assert found == {b"....", b"gone", b"new"}


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    path = tmp_path / "outlast.db"
    await Engine(f"sqlite:///{path}", programs=()).migrate()
    return path


def told(tmp_path: Path, *lines: str) -> Promises:
    history = tmp_path / "worker.history"
    history.write_text("".join(f"{line}\n" for line in lines))
    return Promises.of([history])


async def test_what_was_acknowledged_by_then_must_be_there(database: Path, tmp_path: Path) -> None:
    promises = told(tmp_path, "10 start a nap 1", "30 commit a 1 done")

    promises.go_on(10)
    assert list(broken(database, promises)) == []
    promises.go_on(11)
    assert [text.split(",")[0] for text in broken(database, promises)] == [
        "lost: 1 instances whose start was acknowledged"
    ]


async def test_damage_is_told(database: Path, tmp_path: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8_192:16_384] = bytes(8_192)
    database.write_bytes(content)

    assert [text.split(":")[0] for text in broken(database, told(tmp_path))] == ["damage"]


def test_a_run_without_a_compiler_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Exception, match="cannot be compiled here"), watched_disk(tmp_path):
        pass
