"""`outlast queues`, `limits`, `stats` and `doctor`."""

import signal
from dataclasses import replace
from datetime import timedelta

import pytest

from harness.waiting import eventually
from outlast import RateLimit, sync
from outlast._model import Node, QueueCounts, RateRow, ReadyProgram, Standing
from outlast._world import instant
from outlast.cli.diagnosis import of_nodes, of_queues, of_standing
from outlast.cli.limits import rate_text
from outlast.cli.queues import say_queues
from outlast.config import Config
from tests.cli.conftest import Outlast, Start

NOW = instant(1_900_000_000_000_000)
CALM = Standing(NOW, quarantined=0, overdue=0, overdue_s=0.0, ownerless=0, ready=())
ALIVE = Node("ann", "host", 12, NOW - timedelta(hours=1), NOW - timedelta(seconds=1), 30.0, 3)
DEAD = replace(ALIVE, id="bob", pid=13, renewed_at=NOW - timedelta(minutes=2))


def test_queues_are_counted_paused_and_resumed(outlast: Outlast, url: str) -> None:
    outlast("start", "shop:add", "--url", url, "--arg", "a=1")
    outlast("start", "shop:echo", "--url", url, "--arg", "value=1", "--in", "1h")

    paused = outlast("queues", "--url", url, "pause", "mail", "default")
    counted = {item["name"]: item for item in outlast("queues", "--url", url, "--json").json}
    shown = outlast("queues", "--url", url)
    resumed = outlast("queues", "resume", "mail", "--url", url, "--json")

    assert paused.code == shown.code == 0
    assert (counted["default"]["ready"], counted["mail"]["scheduled"]) == (1, 1)
    assert counted["mail"]["paused_at"] is not None
    assert "mail" in shown.out
    assert resumed.json == [{"name": "mail", "paused": False}]


def test_the_table_of_queues_has_a_column_for_every_live_status(capsys: pytest.CaptureFixture[str]) -> None:
    say_queues([QueueCounts("mail", None, scheduled=1, ready=2, blocked=3, running=4, waiting=5, oldest_ready_s=60.0)])

    headers, line = capsys.readouterr().out.splitlines()
    assert headers.split() == [
        "queue",
        "ready",
        "running",
        "scheduled",
        "blocked",
        "waiting",
        "oldest",
        "ready",
        "paused",
    ]
    assert line.split() == ["mail", "2", "4", "1", "3", "5", "1m"]


def test_pausing_an_empty_queue_says_so_and_what_is_not_empty(outlast: Outlast, url: str) -> None:
    alone = outlast("queues", "pause", "mail", "--url", url)
    again = outlast("queues", "pause", "mail", "--url", url)
    outlast("start", "shop:add", "--url", url, "--arg", "a=1")
    mistyped = outlast("queues", "pause", "defualt", "--url", url)
    meant = outlast("queues", "pause", "default", "--url", url)

    assert alone.code == mistyped.code == meant.code == 0
    assert alone.err == again.err == "it is empty now; what comes will wait\n"
    assert mistyped.err == "it is empty now; what comes will wait (not empty: default)\n"
    assert meant.err == ""


def test_limits_are_those_of_live_workers_and_the_rates_that_the_database_knows(outlast: Outlast, url: str) -> None:
    none = outlast("limits", "--url", url)
    empty = outlast("limits", "--url", url, "--json").json
    rates: dict[str, RateLimit | str] = {
        "api": "100/s",
        "bulk": RateLimit(10_000_000, period="90s"),
        "mail": "5/m burst 1",
        "tiny": "2.5/250ms",
    }
    with sync.Engine(url, queues={"default": 1}, concurrency_limits={"gpu": 3}, rate_limits=rates):
        shown = outlast("limits", "--url", url)
        data = outlast("limits", "--url", url, "--json").json
    later = outlast("limits", "--url", url, "--json").json

    assert (none.code, none.out, "no limits" in none.err) == (0, "", True)
    assert empty == {"concurrency": {}, "rates": {}}
    assert [line.split() for line in shown.out.splitlines()] == [
        ["limit", "kind", "allows"],
        ["gpu", "concurrency", "3"],
        ["api", "rate", "100/s"],
        ["bulk", "rate", "10000000/90s"],
        ["mail", "rate", "5/m", "burst", "1"],
        ["tiny", "rate", "2.5/250ms"],
    ]
    assert data["concurrency"] == {"gpu": 3}
    assert data["rates"]["mail"] == {"allowed": 5.0, "period_s": 60.0, "burst": 1.0}
    assert later == {"concurrency": {}, "rates": data["rates"]}


@pytest.mark.parametrize(
    "text", ["1/s", "100/s burst 7", "5/m", "0.5/2m", "3/h", "7/d", "2/3d", "10/250ms", "1/1.5s", "1000000000/d"]
)
def test_a_rate_is_shown_as_it_may_be_written(text: str) -> None:
    limit = Config(rate_limits={"r": text}).rate_limits["r"]  # type: ignore[dict-item]

    assert rate_text(RateRow("r", limit.allowed, limit.period_s, limit.burst_max)) == text


def test_stats_counts_by_status_and_names_the_workers(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url)
    outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--wait", "10")
    outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--in", "1h")

    data = outlast("stats", "--url", url, "--json").json
    plain = outlast("stats", "--url", url)
    worker.send(signal.SIGTERM)

    assert data["totals"] == {"done": 1, "scheduled": 1}
    assert [node["pid"] for node in data["nodes"]] == [worker.process.pid]
    assert str(worker.process.pid) in plain.out
    assert worker.ends() == 0


def test_doctor_is_content_with_a_fresh_database(outlast: Outlast, url: str) -> None:
    found = outlast("doctor", "--url", url, "--json")

    # The server of a test run need not survive a crash of the machine, and doctor is right to say so.
    problems = {item["subject"] for item in found.json["findings"] if item["level"] == "problem"}
    assert problems <= {"fsync", "full_page_writes"}
    assert found.code == (1 if problems else 0)
    assert {"level", "subject", "message"} == set(found.json["findings"][0])


def test_doctor_finds_a_worker_that_was_killed_and_what_it_held(
    outlast: Outlast, start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_LEASE", "0.5")
    worker = start("worker", "shop", "--url", url)
    outlast("start", "shop:block", "--url", url)
    eventually(lambda: outlast("stats", "--url", url, "--json").json["totals"].get("running"))
    worker.send(signal.SIGKILL)

    def dead() -> list[str]:
        found = outlast("doctor", "--url", url, "--json")
        assert found.code in (0, 1)
        return [item["message"] for item in found.json["findings"] if item["subject"] == "dead worker"]

    told = eventually(dead)
    assert "holds 1 instances" in told[0]
    assert outlast("doctor", "--url", url).code == 1


def test_doctor_tells_a_dead_worker_from_a_live_one() -> None:
    found = list(of_nodes([ALIVE, DEAD], [ALIVE], CALM))

    assert [level for level, _, _ in found] == ["problem", "ok"]
    assert "process 13" in found[0][2]


@pytest.mark.parametrize(
    ("queue", "alive", "told"),
    [
        (QueueCounts("q", None, ready=3, oldest_ready_s=1.0), [ALIVE], [("ok", "lag")]),
        (QueueCounts("q", None, ready=3, oldest_ready_s=1.0), [], [("problem", "no worker"), ("ok", "lag")]),
        (QueueCounts("q", None, ready=3, oldest_ready_s=300.0), [ALIVE], [("problem", "unserved queue")]),
        (QueueCounts("q", None, ready=3, running=1, oldest_ready_s=300.0), [ALIVE], [("warning", "lag")]),
        (QueueCounts("q", NOW, ready=3, oldest_ready_s=300.0), [], [("warning", "paused queue")]),
    ],
)
def test_doctor_judges_a_queue(queue: QueueCounts, alive: list[Node], told: list[tuple[str, str]]) -> None:
    assert [finding[:2] for finding in of_queues([queue], alive)] == told


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (CALM, []),
        (replace(CALM, quarantined=2), [("problem", "quarantine")]),
        (replace(CALM, overdue=2, overdue_s=70.0), [("problem", "overdue")]),
        (replace(CALM, ownerless=1), [("warning", "stuck rows")]),
        (replace(CALM, ready=[ReadyProgram("p", 2, "q", 5, 700.0)]), [("problem", "waiting program")]),
        (replace(CALM, ready=[ReadyProgram("p", 2, "q", 5, 500.0)]), []),
        (replace(CALM, ready=[ReadyProgram("p", 2, "paused", 5, 700.0)]), []),
    ],
)
def test_doctor_judges_what_stands(standing: Standing, told: list[tuple[str, str]]) -> None:
    queues = [QueueCounts("paused", NOW, ready=5)]

    assert [finding[:2] for finding in of_standing(standing, queues, [ALIVE])] == told
