"""`outlast start`."""

import json
import signal

import pytest

from tests.cli.conftest import Outlast, Start


def test_a_start_prints_the_id_of_what_it_stored(outlast: Outlast, url: str) -> None:
    started = outlast(
        "start", "shop:add", "--url", url, "--arg", "a=3", "--queue", "slow", "--priority", -2, "--key", "order:1"
    )

    shown = outlast("show", started.out.strip(), "--url", url, "--json").json
    assert started.code == 0
    assert (shown["program"], shown["state"], shown["status"]) == ("shop.add", {"a": 3}, "ready")
    assert (shown["queue"], shown["priority"], shown["correlation_key"]) == ("slow", -2, "order:1")


def test_the_first_start_makes_a_sqlite_file(outlast: Outlast) -> None:
    started = outlast("start", "shop:add", "--arg", "a=3", "--json")

    assert outlast("list", "--json").json[0]["id"] == started.json["id"]


def test_an_argument_is_json_if_it_parses_and_text_if_not(outlast: Outlast, url: str) -> None:
    for given in ("1.5", "[1]", "null", '"1"', "plain words", "NaN", "a=b", ""):
        outlast("start", "shop:echo", "--url", url, "--arg", f"value={given}")

    found = outlast("list", "--url", url, "--json").json
    assert [item["state"]["value"] for item in reversed(found)] == [
        1.5,
        [1],
        None,
        "1",
        "plain words",
        "NaN",
        "a=b",
        "",
    ]


def test_all_arguments_may_come_as_one_object(outlast: Outlast, url: str) -> None:
    here = outlast("start", "shop:add", "--url", url, "--args", '{"a": 1, "b": 5}')
    piped = outlast("start", "shop:add", "--url", url, "--args", "-", input='{"a": 2}')

    states = [outlast("show", found.out.strip(), "--url", url, "--json").json["state"] for found in (here, piped)]
    assert states == [{"a": 1, "b": 5}, {"a": 2}]


def test_wrong_arguments_are_named_and_nothing_is_stored(outlast: Outlast, url: str) -> None:
    for args, told in (
        ((), "'a'"),
        (("--arg", "a=x"), "$.a"),
        (("--arg", "a=1", "--arg", "c=2"), "'c'"),
        (("--args", "[1]"), "JSON object"),
        (("--args", '{"a":'), "JSON object"),
        (("--args", "{}", "--arg", "a=1"), "together"),
        (("--arg", "a"), "name=value"),
        (("--arg", "a=1", "--in", "soon"), "duration"),
        (("--arg", "a=1", "--at", "soon"), "2030-01-31"),
        (("--arg", "a=1", "--in", "5", "--at", "2030-01-01"), "together"),
    ):
        refused = outlast("start", "shop:add", "--url", url, *args)

        assert (refused.code, refused.out) == (2, ""), args
        assert told in refused.err
    assert outlast("list", "--url", url, "--json").json == []


def test_a_job_that_is_not_there_is_not_found(outlast: Outlast, url: str) -> None:
    refused = outlast("start", "shop:ad", "--url", url)
    by_function = outlast("start", "shop:add", "--url", url, "--arg", "a=1")
    by_name = outlast("start", "shop:shop.add", "--url", url, "--arg", "a=1")

    assert refused.code == 4
    assert "shop.add" in refused.err
    assert by_function.code == by_name.code == 0


def test_without_a_module_it_says_how_to_name_one(outlast: Outlast, url: str) -> None:
    refused = outlast("start", "add", "--url", url)
    named = outlast("start", "add", "--url", url, "--app", "shop", "--arg", "a=1")

    assert refused.code == 2
    assert "--app" in refused.err
    assert named.code == 0


def test_a_key_that_is_held_is_refused_or_answered_with_its_holder(outlast: Outlast, url: str) -> None:
    def start(*more: str) -> tuple[int, str, str]:
        found = outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--key", "order:1", *more)
        return found.code, found.out.strip(), found.err

    _, holder, _ = start()
    code, out, told = start()
    again = start("--on-conflict", "return")

    assert (code, out) == (1, "")
    assert holder in told
    assert again[:2] == (0, holder)


def test_a_key_may_be_held_for_good_or_for_nothing(outlast: Outlast, url: str) -> None:
    def start(*more: str) -> tuple[int, str]:
        found = outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--key", "order:1", *more)
        return found.code, found.out.strip()

    for _ in range(2):
        assert start("--scope", "none")[0] == 0
    code, first = start("--scope", "always")
    outlast("cancel", first, "--url", url)

    assert code == 0
    assert start("--on-conflict", "return") == (0, first)


def test_limits_and_shares_are_given_to_what_starts(
    outlast: Outlast, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAST_RATE_LIMITS", "api:10/s")
    start = ("start", "shop:add", "--url", url, "--arg", "a=1")

    limited = outlast(*start, "--concurrency-key", "gpu[eu]", "--rate-limit", "api", "--weight", "2.5")
    shared = outlast(*start, "--fair-key", "tenant", "--rate-limit", "api[7]")

    first, second = (outlast("show", found.out.strip(), "--url", url, "--json").json for found in (limited, shared))
    assert (first["concurrency_key"], first["rate_limit"], first["rate_weight"]) == ("gpu[eu]", "api", 2.5)
    assert (second["fair_key"], second["rate_limit"], second["rate_weight"]) == ("tenant", "api[7]", 1.0)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--scope", "always"), "--scope needs --key"),
        (("--key", "k", "--scope", "forever"), "'live', 'always', 'none'"),
        (("--weight", "2"), "--weight needs --rate-limit"),
        (("--rate-limit", "api", "--weight", "0"), "weight must be a number above 0"),
        (("--rate-limit", "api", "--weight", "nan"), "weight must be a number above 0"),
        (("--rate-limit", "api", "--weight", "11"), "whose burst is 10"),
        (("--rate-limit", "apy"), "no rate limit is called 'apy'; did you mean 'api'"),
        (("--rate-limit", "api[]"), "NAME or NAME[PARTITION]"),
        (("--concurrency-key", "[eu]"), "NAME or NAME[PARTITION]"),
        (("--concurrency-key", "a[b[c]]"), "NAME or NAME[PARTITION]"),
        (("--concurrency-key", " "), "NAME or NAME[PARTITION]"),
        (("--fair-key", ""), "fair_key must be"),
    ],
)
def test_a_wrong_limit_is_explained(
    outlast: Outlast, url: str, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("OUTLAST_RATE_LIMITS", "api:10/s")

    refused = outlast("start", "shop:add", "--url", url, "--arg", "a=1", *args)

    assert (refused.code, refused.out) == (2, "")
    assert told in refused.err
    assert outlast("list", "--url", url, "--json").json == []


def test_a_start_may_wait_for_its_time(outlast: Outlast, url: str) -> None:
    later = outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--in", "5m").out.strip()
    then = outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--at", "2130-01-01T00:00:00Z").out.strip()

    shown = [outlast("show", id, "--url", url, "--json").json for id in (later, then)]
    assert [item["status"] for item in shown] == ["scheduled", "scheduled"]
    assert shown[1]["due_at"] == "2130-01-01T00:00:00Z"


def test_waiting_prints_the_result_or_the_failure(outlast: Outlast, start: Start, url: str) -> None:
    worker = start("worker", "shop", "--url", url, "--queues", "default,mail")

    good = outlast("start", "shop:echo", "--url", url, "--arg", 'value={"x": [1]}', "--wait")
    bad = outlast("start", "shop:fail", "--url", url, "--wait", "10")
    bad_json = outlast("start", "--wait", "shop:fail", "--url", url, "--json")
    worker.send(signal.SIGTERM)

    assert (good.code, json.loads(good.out)) == (0, {"x": [1]})
    assert (bad.code, bad.out) == (1, "")
    assert "ValueError: no stock" in bad.err
    assert "Traceback" not in bad.err
    assert bad_json.code == 1
    assert (bad_json.json["status"], bad_json.json["error"]["type"]) == ("failed", "ValueError")
    assert worker.ends() == 0


def test_waiting_in_vain_ends_and_says_that_no_worker_is_there(outlast: Outlast, url: str) -> None:
    waited = outlast("start", "shop:add", "--url", url, "--arg", "a=1", "--wait", "50ms")

    assert waited.code == 1
    assert "no worker is alive" in waited.err
    assert "ready" in waited.err
