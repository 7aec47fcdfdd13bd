"""`outlast schedules`, and what `doctor` says of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from outlast import sync
from outlast._model import Schedule
from outlast.cli.diagnosis import of_schedules
from tests.cli.conftest import Outlast
from tests.cli.test_health import ALIVE, CALM, NOW
from tests.cli.test_instances import work

PLAIN = Schedule(
    name="s",
    program="p",
    version=1,
    state={},
    queue="default",
    priority=0,
    cron="@daily",
    zone="UTC",
    dst="auto",
    explanation="At 00:00 every day, UTC",
    catch_up="last",
    window_s=86_400.0,
    overlap="allow",
    jitter_s=0.0,
    enabled=True,
    next_run_at=NOW + timedelta(hours=1),
    last_run_at=None,
    last_instance=None,
    running=(),
    queued=(),
    consecutive_failures=0,
    last_error=None,
    last_error_at=None,
    auto_disabled_at=None,
    created_at=NOW,
    updated_at=NOW,
)


def added(outlast: Outlast, url: str, name: str = "mornings") -> None:
    """A schedule that was added from the shell."""
    made = outlast(
        *("schedules", "add", "30 2 * * MON-FRI", "shop:add", "--arg", "a=1", "--name", name, "--overlap", "queue"),
        *("--zone", "Europe/Berlin", "--jitter", "5m", "--url", url),
    )
    assert (made.code, made.out) == (0, f"{name}\n"), made.err
    assert "by the clocks of Europe/Berlin; next run 20" in made.err


def test_schedules_are_added_listed_and_shown(outlast: Outlast, url: str) -> None:
    none = outlast("schedules", "--url", url)
    added(outlast, url)

    (listed,) = outlast("schedules", "--url", url, "--json").json
    table = outlast("schedules", "--url", url)
    shown = outlast("schedules", "show", "mornings", "--url", url)
    data = outlast("schedules", "show", "mornings", "--url", url, "--json").json

    assert (none.code, none.out) == (0, "")
    assert "outlast schedules add" in none.err
    assert listed == data
    assert (data["cron"], data["state"], data["jitter_s"]) == ("30 2 * * MON-FRI", {"a": 1}, 300.0)
    header, line = table.out.splitlines()
    assert header.split() == ["name", "program", "when", "next", "run", "last", "run", "state"]
    assert line.startswith("mornings  shop.add")
    assert "by the clocks of Europe/Berlin" in line
    assert " in " in line
    assert "shop.add version 1" in shown.out
    assert "queue" in shown.out
    assert "last error" not in shown.out


def test_schedules_are_disabled_enabled_and_deleted(outlast: Outlast, url: str) -> None:
    added(outlast, url, "a")
    added(outlast, url, "b")

    off = outlast("schedules", "disable", "a", "b", "--url", url)
    listed = outlast("schedules", "--url", url)
    on = outlast("schedules", "enable", "a", "--url", url, "--json")
    gone = outlast("schedules", "delete", "b", "--url", url)

    assert off.out == "schedule a is disabled\nschedule b is disabled\n"
    assert listed.out.count("disabled") == 2
    assert on.json == [{"name": "a", "done": "enabled"}]
    assert gone.out == "schedule b is deleted\n"
    left = outlast("schedules", "--url", url, "--json").json
    assert [(each["name"], each["enabled"]) for each in left] == [("a", True)]


def test_a_trigger_prints_the_id_of_the_run(outlast: Outlast, url: str) -> None:
    added(outlast, url)

    id = outlast("schedules", "trigger", "mornings", "--url", url).out.strip()
    work(url, id)

    assert outlast("show", id, "--url", url, "--json").json["result"] == 3
    assert id in outlast("schedules", "show", "mornings", "--url", url).out


def test_machines_are_scheduled_alike(outlast: Outlast, url: str) -> None:
    made = outlast("schedules", "add", "@daily", "shop:Checkout", "--args", '{"order": 7}', "--url", url, "--json")

    assert (made.json["name"], made.json["state"]) == ("shop.checkout", {"order": 7})
    assert (
        outlast("schedules", "add", "@daily", "shop:Checkout", "--arg", "order=8", "--disabled", "--url", url).code == 0
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("add", "every day", "shop:add", "--arg", "a=1"), 2, "five fields"),
        (("add", "@daily", "shop:add"), 2, "a"),
        (("add", "@daily", "add"), 2, "Which module is 'add' in?"),
        (("add", "@daily", "shop:ad", "--arg", "a=1"), 4, "is called 'ad'"),
        (("add", "@daily", "shop:add", "--arg", "a=1", "--zone", "Europe/Berln"), 2, "Europe/Berlin"),
        (("add", "@daily", "shop:add", "--arg", "a=1", "--overlap", "never"), 2, "--overlap"),
        (("add", "@daily", "shop:add", "--arg", "a=1", "--args", "{}"), 2, "cannot be had together"),
        (("show", "nobody"), 4, "no schedule is called 'nobody'"),
        (("enable", "nobody"), 4, "no schedule is called 'nobody'"),
        (("trigger", "nobody"), 4, "no schedule is called 'nobody'"),
        (("delete", "nobody"), 4, "no schedule is called 'nobody'"),
    ],
)
def test_what_is_wrong_is_explained(
    outlast: Outlast, url: str, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = outlast("schedules", *arguments, "--url", url)

    assert answer.code == code
    assert told in answer.err
    assert outlast("schedules", "--url", url, "--json").json == []


def test_doctor_tells_of_schedules_that_do_not_fire() -> None:
    never = replace(PLAIN, name="never", next_run_at=None)
    late = replace(PLAIN, name="late", next_run_at=NOW - timedelta(minutes=5))
    off = replace(PLAIN, name="off", enabled=False, next_run_at=None, auto_disabled_at=NOW, consecutive_failures=5)
    disabled = replace(PLAIN, name="disabled", enabled=False, next_run_at=None)

    found = list(of_schedules([PLAIN, never, late, off, disabled], CALM, []))

    assert [(level, sentence.split()[0]) for level, _, sentence in found] == [
        ("warning", "'never'"),
        ("problem", "'late'"),
        ("problem", "'off'"),
    ]
    assert found[1][2].endswith("due 5m ago and has not fired: no worker is alive")
    assert "see their logs" in next(of_schedules([late], CALM, [ALIVE]))[2]


def test_doctor_asks_the_database(outlast: Outlast, url: str) -> None:
    added(outlast, url)
    with sync.Engine(url, queues={}) as engine:
        row = engine.get_schedule("mornings")

    answer = outlast("doctor", "--url", url, "--json")

    assert row.enabled
    assert [each for each in answer.json["findings"] if each["subject"] == "schedule"] == []
