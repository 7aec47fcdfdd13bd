"""`outlast signal` and `signals`, and machines from the shell."""

import pytest

from tests.cli.conftest import Outlast
from tests.cli.test_instances import work


def begun(outlast: Outlast, url: str, key: str = "order:7") -> str:
    """A machine with this correlation key, started from the shell; its id."""
    started = outlast("start", "shop:Checkout", "--arg", "order=7", "--key", key, "--url", url)
    assert started.code == 0, started.err
    return started.out.strip()


def test_a_machine_is_started_signalled_and_ends(outlast: Outlast, url: str) -> None:
    id = begun(outlast, url)

    sent = outlast("signal", "order:7", "payment", "--payload", '{"amount": 5}', "--dedup-key", "e1", "--url", url)
    again = outlast("signal", id[:20], "payment", "--dedup-key", "e1", "--url", url, "--json")
    work(url, id)

    assert (sent.code, sent.out) == (0, "delivered\n")
    assert again.json["result"] == "duplicate"
    shown = outlast("show", id, "--url", url, "--json").json
    assert (shown["status"], shown["result"]) == ("done", [7, {"amount": 5}])
    listed = outlast("signals", id, "--url", url, "--json").json
    assert [(letter["name"], letter["dedup_key"]) for letter in listed] == [("payment", "e1")]
    assert "payment" in outlast("signals", "order:7", "--url", url).out


def test_what_cannot_be_reached_is_said_and_fails(outlast: Outlast, url: str) -> None:
    id = begun(outlast, url)
    outlast("cancel", id, "--tree", "--url", url)

    ended = outlast("signal", id, "payment", "--url", url)
    nobody = outlast("signal", "nobody", "payment", "--url", url)

    assert (ended.code, ended.out) == (1, "the instance has ended\n")
    assert (nobody.code, nobody.out) == (1, "no such instance\n")
    assert outlast("signals", id, "--url", url).err == "no signals\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("signal", "order:7", "payment", "--payload", "{"), "--payload must be JSON"),
        (("signal", "order:7", " "), "a signal's name"),
        (("start", "shop:Checkout", "--arg", "order=many"), "order"),
        (("start", "shop:Checkout"), "order"),
    ],
)
def test_wrong_usage_is_explained(outlast: Outlast, url: str, arguments: tuple[str, ...], told: str) -> None:
    begun(outlast, url)

    answer = outlast(*arguments, "--url", url)

    assert answer.code == 2
    assert told in answer.err
