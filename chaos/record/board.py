"""Every row of the record: what it is to prove, and which scenarios prove it at which scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Part:
    """A scenario of a row.

    Attributes:
        scenario: Its name, as `python -m chaos` knows it.
        rounds: How often its full size is run at full scale, each time from a seed of its own.
        minutes: Of a scenario that lasts as long as it is told to: how long that is at full scale. None: another one.
    """

    scenario: str
    rounds: int = 1
    minutes: float | None = None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: `R` and a number.
        title: What is done.
        goal: What must come of it, and how much of it there should be in the end.
        parts: What is run.
        tests: Arguments for pytest, where the proof, or some of it, is a test of the suite.
        counts: How much these do at full scale, in some minutes: environment variables that they read.
        elsewhere: The command whose result is added to the record; or why there is none.
    """

    name: str
    title: str
    goal: str
    parts: tuple[Part, ...] = ()
    tests: tuple[str, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    elsewhere: str = ""


def _both(scenario: str, rounds: int = 1, *, minutes: float | None = None) -> tuple[Part, ...]:
    return tuple(Part(f"{scenario}-{store}", rounds, minutes) for store in ("sqlite", "postgres"))


_ADDED: Final = "made by another command, which adds its result with `--add`"

ROWS: Final = (
    Row(
        "R1",
        "SIGKILL of workers, SQLite",
        "10,000 kills over 1,000,000 jobs: none lost, none committed twice, the file is sound",
        (Part("kills-sqlite", 10), Part("machines-sqlite"), Part("workflows-sqlite"), Part("fanout-sqlite")),
    ),
    Row(
        "R2",
        "SIGKILL of workers, Postgres",
        "10,000 kills over 1,000,000 jobs: none lost, none committed twice",
        (Part("kills-postgres", 8), Part("machines-postgres"), Part("workflows-postgres"), Part("fanout-postgres")),
    ),
    Row(
        "R3",
        "Crashes of Postgres",
        "100 kills of the postmaster and 500 of single backends: nothing lost; recovery within lease + 5 s",
        (Part("outages-postgres"), Part("backends-postgres")),
    ),
    Row(
        "R4",
        "Failover to a synchronous standby",
        "50 promotions: nothing acknowledged is lost; work goes on within lease + 5 s",
        (Part("failover-postgres"),),
    ),
    Row(
        "R5",
        "Failover to an asynchronous standby",
        "50 promotions: never stuck; what is lost is the tail, and nothing is done twice",
        (Part("failover-async-postgres"),),
    ),
    Row(
        "R6",
        "Signals that race with waits",
        "1,000,000 signals on each store that race with the park that waits for them, and others under kills: each is "
        "used once, or listed, and wakes once",
        _both("signals", 4),
        tests=("tests/store/contract/test_races.py", "-k", "no_wake_up_is_lost"),
        counts=(("OUTLAST_TEST_ROUNDS", 500),),
    ),
    Row(
        "R7",
        "Concurrency keys and rate limits under kills",
        "1,000,000 claims with keys of 1 to 64 slots on each store, and others under kills: never more at once than "
        "slots, never more tokens than there are",
        (*_both("keys", 2), *_both("rates", 2)),
        tests=("tests/store/contract/test_limits.py", "-k", "never_more_than_the_slots_run"),
        counts=(("OUTLAST_TEST_CLAIMS", 20_000),),
    ),
    Row(
        "R8",
        "SIGSTOP past the lease",
        "1,000 freezes: no late outcome is committed, no late answer given",
        _both("freezes", 3),
    ),
    Row(
        "R9",
        "Clocks that jump",
        "200 jumps of the database's clock by up to an hour, 200 of workers' by up to a day: nothing lost, nothing "
        "doubled, no claim taken from the living",
        _both("clocks"),
    ),
    Row(
        "R10",
        "Networks that fail",
        "200 cuts and 10,000 replies lost at any byte: nothing lost, nothing doubled",
        (Part("network-postgres"),),
    ),
    Row("R11", "No space on the disk", "50 times: no damage, work goes on within 5 s", (Part("full-disk-sqlite", 3),)),
    Row(
        "R12",
        "Power loss, SQLite",
        "5,000 cut points, three disks from each: nothing acknowledged is lost, no damage",
        (Part("power-sqlite", 10),),
    ),
    Row(
        "R13",
        "Simulated clusters",
        "1,000,000 crashes, 300,000 pauses, 10,000,000 transactions: no violation; each seed twice, with equal hash",
        elsewhere=_ADDED,
    ),
    Row("R14", "Planted bugs", "40 or more: all are noticed, half of them within 50 seeds", elsewhere=_ADDED),
    Row(
        "R15",
        "Interleavings on real Postgres",
        "every pair of operations, statement by statement, and 200,000 triples: no deadlock, no violation",
        elsewhere=_ADDED,
    ),
    Row(
        "R16",
        "Model",
        "20,000 sequences of 50 rules on each store: no divergence",
        tests=("tests/model",),
        counts=(("OUTLAST_MODEL_EXAMPLES", 200),),
    ),
    Row(
        "R17",
        "Soak",
        "an hour at half the capacity, under some kills: memory, files, threads, tasks and tables do not grow",
        _both("soak", minutes=4.0),
    ),
    Row(
        "R18",
        "Heartbeats that starve",
        "1,000 steps that block the loop for three leases: no claim is taken; 100 that hold the interpreter's lock: "
        "nothing is committed twice",
        (*_both("blocked", 3), *_both("hoarders", 2)),
    ),
    Row(
        "R19",
        "Malformed input",
        "1,000,000 cases: no traceback, no hang",
        elsewhere=_ADDED,
    ),
    Row(
        "R20",
        "Rolling deployment",
        "two editions of an application side by side, 10,000 instances in flight, 100 restarts, some of them back to "
        "the old one: nothing lost, nothing fails for its version. Not shown: two releases of Outlast and a migration "
        "between them, as there is no release yet to roll from",
        _both("rolling"),
    ),
    Row(
        "R21",
        "Shutdown",
        "1,000 times SIGTERM: nothing that ended in time runs again, exit in time; 200 of them twice: exit within 1 s",
        (*_both("drains", 4), *_both("impatience", 2)),
    ),
    Row(
        "R22",
        "Schedules",
        "ten simulated years in four time zones, 1,000 losses of the firing process: no tick missed, none doubled",
        tests=(
            "tests/kernel/test_schedules.py",
            "tests/engine/test_schedules.py",
            "-k",
            "years or decided_once or lose_no_tick",
        ),
        counts=(("OUTLAST_TEST_YEARS", 10),),
    ),
    Row(
        "R23",
        "Objects under kills, freezes and cuts",
        "1,000,000 calls of 1,000 objects: one order explains all answers",
        (*_both("objects"), *_both("alarms")),
    ),
    Row(
        "R24",
        "Poison",
        "a bad row in each of 10,000 batches and 1,000 instances that kill their process: neighbours are unharmed, at "
        "most 5 processes die of each",
        (*_both("bad-rows", 2), *_both("killers", 3)),
    ),
    Row(
        "R25",
        "Hints that do not come",
        "all notifications dropped, and `pooler=transaction`: all is done, and begins within a poll",
        (*_both("deaf", 2), Part("pooled-postgres", 2)),
    ),
    Row(
        "R26",
        "A long row before a closed gate",
        "100,000 instances that must wait: others begin as soon as without them (p99 at most twice as late)",
        _both("starvation"),
    ),
    Row(
        "R27",
        "Outages under load",
        "10 outages of 1 s to 5 min: no claim is taken from the living, at most 2 connections tried a second "
        "beside heartbeats, the backlog clears at 1.5 times the rate of arrival",
        (Part("recoveries-postgres"),),
    ),
    Row(
        "R28",
        "A transaction that stays open",
        "30 minutes at 500 jobs a second: claims take at most 10 times as long, and are themselves 2 min after",
        (Part("long-transaction-postgres", minutes=3.0),),
    ),
)

BY_NAME: Final = {row.name: row for row in ROWS}
