"""`outlast list`, `show`, `cancel`, `retry` and `delete`."""

import asyncio
import json
from pathlib import Path

import pytest

from outlast import Engine
from outlast.errors import InstanceFailed
from tests.cli.conftest import Outlast


def start(outlast: Outlast, url: str, job: str = "shop:add", *args: str) -> str:
    """Starts a job; its id."""
    given = args or ("--arg", "a=1") if job == "shop:add" else args
    started = outlast("start", job, "--url", url, *given)
    assert started.code == 0, started.err
    return started.out.strip()


def work(url: str, *ids: str) -> None:
    """Runs these to their end."""

    async def run() -> None:
        async with Engine(url, queues={"default": 5, "mail": 5}, poll_interval=0.02) as engine:
            for id in ids:
                try:
                    await engine.handle(id).result(timeout=10)
                except InstanceFailed:
                    pass

    asyncio.run(run())


def test_a_list_shows_the_newest_first(outlast: Outlast, url: str) -> None:
    ids = [start(outlast, url) for _ in range(3)]

    plain = outlast("list", "--url", url)
    lines = outlast("list", "--url", url, "--json-lines").out.splitlines()

    assert [line.split()[0] for line in plain.out.splitlines()[1:]] == ids[::-1]
    assert [json.loads(line)["id"] for line in lines] == ids[::-1]


def test_a_list_shows_only_what_was_asked_for(outlast: Outlast, url: str) -> None:
    plain = start(outlast, url)
    mail = start(outlast, url, "shop:echo", "--arg", "value=1", "--key", "k")
    later = start(outlast, url, "shop:add", "--arg", "a=1", "--in", "1h")

    def listed(*args: str) -> set[str]:
        found = outlast("list", "--url", url, "--json", *args)
        assert found.code == 0, found.err
        return {item["id"] for item in found.json}

    assert listed() == {plain, mail, later}
    assert listed("--status", "scheduled") == {later}
    assert listed("--status", "scheduled", "--status", "ready") == {plain, mail, later}
    assert listed("--program", "shop.echo") == listed("--queue", "mail") == listed("--key", "k") == {mail}
    assert (
        listed("--since", "1h")
        == listed("--since", "2 h ago")
        == listed("--since", "2020-01-01")
        == {
            plain,
            mail,
            later,
        }
    )
    assert listed("--until", "1h") == listed("--since", "2130-01-01") == set()


def test_a_list_goes_on_where_the_page_before_ended(outlast: Outlast, url: str) -> None:
    ids = [start(outlast, url) for _ in range(5)][::-1]

    first = outlast("list", "--url", url, "--limit", 2)
    second = outlast("list", "--url", url, "--limit", 10, "--before", ids[1], "--json").json

    assert f"--before {ids[1]}" in first.err
    assert [item["id"] for item in second] == ids[2:]


def test_a_wrong_filter_is_wrong_usage(outlast: Outlast, url: str) -> None:
    for args in (("--status", "nope"), ("--limit", "0"), ("--since", "noon"), ("--before", "zz")):
        assert outlast("list", "--url", url, *args).code == 2, args


def test_looking_does_not_make_a_database(outlast: Outlast, folder: Path) -> None:
    for command in (("list",), ("show", "0000"), ("cancel", "0000"), ("queues",), ("stats",), ("doctor",)):
        refused = outlast(*command)

        assert refused.code == 3, command
        assert "outlast.db" in refused.err
    assert not list(folder.glob("*.db*"))


def test_show_tells_all_and_the_failure_with_its_traceback(outlast: Outlast, url: str) -> None:
    id = start(outlast, url, "shop:fail", "--arg", "why=out of stock")
    work(url, id)

    shown = outlast("show", id[:20], "--url", url)
    data = outlast("show", id, "--url", url, "--json").json

    assert shown.code == 0
    for told in (id, "shop.fail", "failed", "ValueError: out of stock", "shop.py", "raise ValueError(why)"):
        assert told in shown.out
    assert (data["status"], data["error"]["message"]) == ("failed", "out of stock")


def test_foreign_text_cannot_steer_the_terminal(outlast: Outlast, url: str) -> None:
    evil = "\x1b[2J\x9b31m\u202egnp\r\n\x07"
    id = start(outlast, url, "shop:fail", "--arg", f"why={evil}")
    work(url, id)

    said = [outlast(*args, "--url", url) for args in (("list",), ("show", id), ("show", id, "--json"))]

    for answer in said:
        assert all(char.isprintable() or char == "\n" for char in answer.out), answer.out
    assert json.loads(said[2].out)["error"]["message"] == evil


def test_what_is_not_there_is_not_found(outlast: Outlast, url: str) -> None:
    for command in ("show", "cancel", "retry", "delete"):
        plain = outlast(command, "0000aaaa", "--url", url)
        machine = outlast(command, "0000aaaa", "--url", url, "--json")

        assert plain.code == machine.code == 4
        assert "0000aaaa" in plain.err
        assert (machine.error["error"], machine.error["exit_code"]) == ("NotFound", 4)


def test_an_ambiguous_beginning_is_wrong_usage(outlast: Outlast, url: str) -> None:
    first, _ = start(outlast, url), start(outlast, url)

    assert outlast("show", first[:6], "--url", url).code == 2


def test_cancel_ends_each_and_reports_those_that_fail(outlast: Outlast, url: str) -> None:
    one, two = start(outlast, url), start(outlast, url)

    done = outlast("cancel", one, "0000aaaa", two, "--url", url, "--reason", "stocktaking")

    assert done.code == 1
    assert "0000aaaa" in done.err
    shown = outlast("show", two, "--url", url, "--json").json
    assert (shown["status"], shown["error"]["message"]) == ("cancelled", "stocktaking")
    assert outlast("list", "--url", url, "--status", "ready", "--json").json == []


def test_retry_runs_again_what_has_failed(outlast: Outlast, url: str) -> None:
    failed, done = start(outlast, url, "shop:fail"), start(outlast, url)
    work(url, failed, done)

    again = outlast("retry", failed, "--url", url)
    refused = outlast("retry", done, "--url", url)

    assert again.code == 0
    assert outlast("show", failed, "--url", url, "--json").json["status"] == "ready"
    assert refused.code == 1
    assert "'done'" in refused.err


def test_what_is_tagged_is_listed_and_shown(outlast: Outlast, url: str) -> None:
    both = start(outlast, url, "shop:add", "--arg", "a=1", "--tag", "customer=42", "--tag", "region=eu")
    eu = start(outlast, url, "shop:add", "--arg", "a=1", "--tag", "region=eu")
    start(outlast, url)

    def listed(*args: str) -> list[str]:
        return [item["id"] for item in outlast("list", "--url", url, "--json", *args).json]

    assert listed("--tag", "region=eu") == [eu, both]
    assert listed("--tag", "region=eu", "--tag", "customer=42", "--roots") == [both]
    assert listed("--tag", "region=eu", "--queue", "other") == []
    assert "tags             customer=42, region=eu" in outlast("show", both, "--url", url).out
    assert outlast("show", both, "--url", url, "--json").json["tags"] == {"customer": "42", "region": "eu"}
    wrong = outlast("list", "--url", url, "--tag", "region")
    assert (wrong.code, "'region' is not name=value" in wrong.err) == (2, True)


def test_many_are_deleted_after_a_look_and_a_question(outlast: Outlast, url: str) -> None:
    failed = [start(outlast, url, "shop:fail") for _ in range(3)]
    work(url, *failed, start(outlast, url))
    live = start(outlast, url)

    def delete(*args: str, input: str | None = None) -> tuple[int, str]:
        answer = outlast("delete", "--url", url, *args, input=input)
        return answer.code, answer.out

    assert delete("--status", "failed", "--older-than", "7d", "--dry-run") == (0, "0 would be deleted\n")
    assert delete("--status", "failed", "--dry-run") == (0, "3 would be deleted\n")
    assert delete("--status", "failed", input="n\n")[0] == 1
    asked = outlast("delete", "--url", url, "--status", "failed", input="y\n")
    assert (asked.code, asked.out.splitlines()[-1]) == (0, "3 deleted")
    assert "Delete 3 for good?" in asked.err
    assert outlast("delete", "--url", url, "--older-than", "0", "--yes", "--json").json == {
        "count": 1,
        "dry_run": False,
    }
    assert [item["id"] for item in outlast("list", "--url", url, "--json").json] == [live]


@pytest.mark.parametrize(
    "args",
    [(), ("0190a2b3", "--status", "failed"), ("--dry-run",), ("0190a2b3", "--dry-run"), ("--status", "running")],
    ids=str,
)
def test_what_to_delete_must_be_clear(outlast: Outlast, url: str, args: tuple[str, ...]) -> None:
    assert outlast("delete", "--url", url, *args).code == 2


def test_what_changes_is_said_until_the_end(outlast: Outlast, url: str) -> None:
    id = start(outlast, url)
    work(url, id)

    watched = outlast("show", id[:20], "--watch", "--url", url)

    assert watched.code == 0
    assert watched.err.endswith("done  run\n")
    assert "result" in watched.out


def test_delete_deletes(outlast: Outlast, url: str) -> None:
    id = start(outlast, url)

    assert outlast("delete", id, "--url", url, "--json").json == [{"id": id, "status": "deleted"}]
    assert outlast("show", id, "--url", url).code == 4
