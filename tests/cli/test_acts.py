"""`outlast pause`, `resume` and `retry` with changes, and what `show` and `list` tell of them."""

from pathlib import Path

from outlast._kernel.program import DEFINED
from tests.cli.conftest import Outlast
from tests.cli.test_instances import start, work
from tests.cli.test_workflows import begun, drained


def test_an_instance_is_paused_shown_and_resumed(outlast: Outlast, url: str) -> None:
    id, free = start(outlast, url), start(outlast, url)

    paused = outlast("pause", id[:23], "--url", url, "--reason", "stocktaking", "--by", "ann")

    assert (paused.code, paused.out) == (0, f"{id} paused\n")
    shown = outlast("show", id, "--url", url)
    for told in ("paused", "stocktaking", "paused because", "ann"):
        assert told in shown.out
    assert "paused: stocktaking" in outlast("list", "--url", url).out
    assert [each["id"] for each in outlast("list", "--url", url, "--paused", "--json").json] == [id]
    assert [each["id"] for each in outlast("list", "--url", url, "--not-paused", "--json").json] == [free]

    resumed = outlast("resume", id, "--url", url, "--by", "bob")
    assert (resumed.code, resumed.out) == (0, f"{id} resumed\n")
    data = outlast("show", id, "--url", url, "--json").json
    assert (data["status"], data["paused_at"]) == ("ready", None)
    assert [(act["act"], act["by"], act["reason"]) for act in data["acts"]] == [
        ("paused", "ann", "stocktaking"),
        ("resumed", "bob", None),
    ]


def test_what_has_ended_is_not_paused(outlast: Outlast, url: str) -> None:
    done, ready = start(outlast, url), start(outlast, url)
    work(url, done, ready)

    refused = outlast("pause", done, ready, "--url", url)

    assert refused.code == 1
    assert refused.err.count("has ended as 'done' and cannot be paused") == 2


def test_a_workflow_is_run_again_from_a_step_with_other_arguments(outlast: Outlast, url: str, folder: Path) -> None:
    id = begun(outlast, url, folder)
    outlast("cancel", id, "--url", url)

    again = outlast(
        "retry",
        id[:23],
        *("--from", "charge#1", "--input", '{"order": 8}', "--reason", "wrong order", "--by", "ann"),
        *("--url", url, "--app", "shop"),
    )

    assert (again.code, again.out) == (0, f"{id} runs again\n"), again.err
    drained(url, folder)
    outlast("input", id, "manager", "true", "--url", url)
    drained(url, folder)
    assert outlast("show", id, "--url", url, "--json").json["result"] == ["charged 8", "approved"]
    shown = outlast("show", id, "--url", url).out
    for told in ("retried", "ann", "wrong order", "from charge#1", "forgot charge#1", 'input was {"order": 7}'):
        assert told in shown


def test_a_result_is_given_by_hand(outlast: Outlast, url: str, folder: Path) -> None:
    id = begun(outlast, url, folder)
    outlast("cancel", id, "--url", url)

    given = outlast("retry", id, "--result-of", "charge#1=by hand", "--url", url, "--app", "shop")
    assert given.code == 0, given.err
    outlast("input", id, "manager", "true", "--url", url)
    drained(url, folder)

    assert outlast("show", id, "--url", url, "--json").json["result"] == ["by hand", "approved"]
    assert 'result of charge#1 was "charged 7"' in outlast("show", id, "--url", url).out


def test_what_is_given_wrong_is_wrong_usage(outlast: Outlast, url: str, folder: Path) -> None:
    id = begun(outlast, url, folder)
    outlast("cancel", id, "--url", url)
    app = ("--url", url, "--app", "shop")

    for wrong, told in (
        (("--input", "[1]"), "is not a JSON object"),
        (("--input", '{"order": "x"}'), "order"),
        (("--state", '{"order": 1}'), "is no machine"),
        (("--from", "nobody#1"), "holds nothing called"),
        (("--result-of", "charge#1=5"), "does not fit"),
    ):
        refused = outlast("retry", id, *wrong, *app)
        assert refused.code == 2, wrong
        assert told in refused.err
    DEFINED._programs.clear()  # as in a process of its own.
    unknown = outlast("retry", id, "--input", '{"order": 1}', "--url", url)
    assert unknown.code != 0
    assert "is not known here" in unknown.err
    assert outlast("show", id, "--url", url, "--json").json["status"] == "cancelled"
