"""The referee is shown what must not be, and says so."""

import random
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from simulation.database import Database, Weather
from simulation.referee import Referee
from simulation.universe import Universe

COLUMNS = (
    "id TEXT, program TEXT, status TEXT, epoch INT, commits INT, commit_epoch INT, node TEXT, concurrency_key TEXT,"
    " slot INT, attempt INT, crashes INT"
)
ANN = SimpleNamespace(name="ann", world=SimpleNamespace(node_ids={"a1"}))
BOB = SimpleNamespace(name="bob", world=SimpleNamespace(node_ids={"b1"}))


class Court:
    """A referee and its tables."""

    def __init__(self) -> None:
        universe = Universe(random.Random(1))
        self.database = Database(universe, random.Random(1), Weather())
        for text in (
            f"CREATE TABLE outlast_instances ({COLUMNS})",
            "CREATE TABLE outlast_signals (id TEXT, instance TEXT, name TEXT, consumed_us INT)",
            "CREATE TABLE outlast_journal (instance TEXT, key TEXT, kind TEXT, status TEXT, attempt INT, value TEXT)",
            "CREATE TABLE outlast_objects (type TEXT, id TEXT, epoch INT, commits INT, node TEXT, born INT)",
            "CREATE TABLE outlast_nodes (id TEXT, beat INT)",
        ):
            self.database.connection.execute(text)
        self.referee = Referee(universe, self.database, {"wide": 2}, 2.0)
        self.referee.attach()

    def do(self, *texts: str, by: SimpleNamespace = ANN) -> None:
        """One transaction."""

        def call(connection: sqlite3.Connection) -> None:
            for text in texts:
                connection.execute(text)

        self.database.issuer = by
        _, error = self.database.transact(call)
        assert error is None

    def new(self, id: str, status: str = "ready", *, node: str = "NULL", key: str = "NULL") -> None:
        self.do(f"INSERT INTO outlast_instances VALUES ('{id}', 'p', '{status}', 1, 0, 0, {node}, {key}, 0, 0, 0)")

    def set(self, id: str, change: str, by: SimpleNamespace = ANN) -> None:
        self.do(f"UPDATE outlast_instances SET {change} WHERE id = '{id}'", by=by)


@pytest.fixture
def court() -> Iterator[Court]:
    court = Court()
    yield court
    court.database.connection.close()


def test_a_claim_and_its_commit_are_no_offence(court: Court) -> None:
    court.new("i")
    court.set("i", "status = 'running', epoch = 2, node = 'a1'")
    court.set("i", "status = 'done', commits = 1, commit_epoch = 2, node = NULL")

    assert court.referee.violations == []
    assert (court.referee.claims, court.referee.commits) == (1, 1)


@pytest.mark.parametrize(
    ("change", "by", "said"),
    [
        ("status = 'done', commits = 1", BOB, "committed by bob, which does not hold it"),
        ("commits = 2", ANN, "2 commits at once"),
        ("epoch = 0", ANN, "went back"),
        ("status = 'blocked', commits = 1", BOB, "which does not hold it"),
    ],
)
def test_offences_against_a_running_instance(court: Court, change: str, by: SimpleNamespace, said: str) -> None:
    court.new("i", "running", node="'a1'")
    court.set("i", change, by)

    assert any(said in text for text in court.referee.violations), court.referee.violations


@pytest.mark.parametrize(
    ("status", "change", "said"),
    [
        ("done", "status = 'ready'", "terminal is not terminal"),
        ("waiting", "status = 'done', commits = 1", "committed while waiting"),
        ("ready", "status = 'waiting'", "went from ready to waiting"),
        ("ready", "status = 'running', node = 'a1'", "its epoch went from 1 to 1"),
    ],
)
def test_offences_against_others(court: Court, status: str, change: str, said: str) -> None:
    court.new("i", status)
    court.set("i", change)

    assert any(said in text for text in court.referee.violations), court.referee.violations


def test_a_key_has_no_more_than_its_slots(court: Court) -> None:
    for id in "ab":
        court.new(id, "running", node="'a1'", key="'wide'")
    assert court.referee.violations == []

    court.new("c", "running", node="'a1'", key="'wide'")

    assert "3 steps of the key wide run at once" in court.referee.violations[0]


def test_what_a_transaction_takes_and_puts_back_is_no_offence(court: Court) -> None:
    for id in "ab":
        court.new(id, key="'one'")
    court.set("a", "status = 'running', epoch = 2, node = 'a1'")

    court.do(
        "UPDATE outlast_instances SET status = 'running', epoch = 2, node = 'a1' WHERE id = 'b'",
        "UPDATE outlast_instances SET status = 'blocked', node = NULL WHERE id = 'b'",
    )

    assert court.referee.violations == []


def test_a_signal_is_used_up_once_and_a_step_recorded_once(court: Court) -> None:
    court.do("INSERT INTO outlast_signals VALUES ('s', 'i', 'go', NULL)")
    court.do("UPDATE outlast_signals SET consumed_us = 1")
    court.do("INSERT INTO outlast_journal VALUES ('i', 'pay#1', 'step', 'done', 0, '1')")
    assert court.referee.violations == []

    court.do("UPDATE outlast_signals SET consumed_us = 2")
    court.do("UPDATE outlast_journal SET value = '2'")

    assert "used up twice" in court.referee.violations[0]
    assert "was recorded again: 1 then 2" in court.referee.violations[1]


def test_an_object_is_written_by_its_owner(court: Court) -> None:
    court.do("INSERT INTO outlast_objects VALUES ('t', 'o', 1, 0, 'a1', 1)")
    court.do("UPDATE outlast_objects SET commits = 1")
    assert court.referee.violations == []

    court.do("UPDATE outlast_objects SET commits = 2", by=BOB)

    assert "written by bob, which does not own it" in court.referee.violations[0]


def test_what_was_rolled_back_never_happened(court: Court) -> None:
    court.new("i", "done")
    digest = court.referee.digest

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE outlast_instances SET status = 'ready'")
        raise ValueError

    court.database.transact(fail)

    assert court.referee.violations == []
    assert court.referee.digest == digest
