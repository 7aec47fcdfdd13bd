"""`outlast objects`, and what `stats` and `doctor` say of them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from outlast import Object, alarm, handler, sync
from outlast.cli.diagnosis import of_alarms
from outlast.objects import PendingAlarm
from tests.cli.conftest import Outlast
from tests.cli.test_health import ALIVE, CALM, NOW


@pytest.fixture
def worker(url: str) -> Iterator[sync.Engine]:
    """A worker that knows the shop's objects."""

    class Stock(Object, name="shop.Stock"):
        left: int = 10

        @handler
        async def take(self, amount: int = 1) -> int:
            if amount > self.left:
                raise ValueError(f"only {self.left} left")
            self.left -= amount
            return self.left

        @alarm
        async def refill(self) -> None:
            self.left = 10

    with sync.Engine(url, programs=[Stock], poll_interval=0.05) as engine:
        engine.object(Stock, "tea").take(3)
        engine.schedule_alarm(engine.object(Stock, "tea"), "refill", every=timedelta(hours=1))
        yield engine


def test_objects_are_counted_listed_and_shown(outlast: Outlast, url: str, worker: sync.Engine) -> None:
    counted = outlast("objects", "--url", url)
    listed = outlast("objects", "list", "shop.Stock", "--url", url)
    (data,) = outlast("objects", "list", "shop.Stock", "--owned", "--url", url, "--json").json
    shown = outlast("objects", "show", "shop.Stock", "tea", "--url", url)
    both = outlast("objects", "show", "shop.Stock", "tea", "--url", url, "--json").json

    assert [line.split() for line in counted.out.splitlines()] == [
        ["object", "stored", "owned"],
        ["shop.Stock", "1", "1"],
    ]
    assert outlast("objects", "--url", url, "--json").json == [{"type": "shop.Stock", "objects": 1, "owned": 1}]
    assert listed.out.splitlines()[1].split()[0] == "tea"
    assert '{"left":7}' in listed.out.replace(" ", "")
    assert (data["state"], both["object"]["state"]) == ({"left": 7}, {"left": 7})
    assert [(each["name"], each["every"]) for each in both["alarms"]] == [("refill", 3600.0)]
    assert "object   shop.Stock tea" in shown.out
    assert "every 1h" in shown.out
    assert outlast("objects", "list", "shop.Stock", "--free", "--url", url).out == ""


def test_a_handler_is_called_and_its_answer_printed(outlast: Outlast, url: str, worker: sync.Engine) -> None:
    for how in (("--arg", "amount=2"), ("--args", '{"amount": 2}'), ("--args", "[2]")):
        answer = outlast("objects", "call", "shop:Stock", "milk", "take", *how, "--url", url)
        assert answer.code == 0, answer.err
    once = [
        outlast("objects", "call", "shop:shop.Stock", "milk", "take", "--key", "k", "--url", url).out for _ in range(2)
    ]

    assert (answer.out, once) == ("4\n", ["3\n", "3\n"])
    assert outlast("objects", "call", "shop:Stock", "milk", "take", "--send", "--url", url).code == 0


def test_objects_are_stopped_and_deleted(outlast: Outlast, url: str, worker: sync.Engine) -> None:
    stopped = outlast("objects", "stop", "shop:Stock", "tea", "--url", url)
    counted = outlast("objects", "--url", url, "--json").json
    deleted = outlast("objects", "delete", "shop:Stock", "tea", "--url", url, "--json")
    again = outlast("objects", "delete", "shop:Stock", "tea", "--url", url)

    assert stopped.out == "shop.Stock tea is stopped\n"
    assert counted == [{"type": "shop.Stock", "objects": 1, "owned": 0}]
    assert deleted.json == [{"type": "shop.Stock", "id": "tea", "done": "deleted"}]
    assert (again.code, "no shop.Stock has the id 'tea'" in again.err) == (4, True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("call", "shop:Stock", "tea", "take", "--arg", "amount=99"), 1, "only 7 left"),
        (("call", "shop:Stock", "tea", "tak"), 4, "did you mean 'take'"),
        (("call", "shop:Stok", "tea", "take"), 4, "no object is called 'Stok'"),
        (("call", "shop:add", "tea", "take"), 4, "no object is called 'add'"),
        (("call", "shop:Checkout", "tea", "take"), 4, "is no object"),
        (("call", "Stock", "tea", "take"), 2, "Which module is 'Stock' in?"),
        (("call", "shop:Stock", "tea", "take", "--arg", "amont=1"), 2, "amont"),
        (("call", "shop:Stock", "tea", "take", "--args", "{"), 2, "--args must be JSON"),
        (("call", "shop:Stock", "tea", "take", "--args", "3"), 2, "object or array"),
        (("call", "shop:Stock", "tea", "take", "--args", "[]", "--arg", "a=1"), 2, "cannot be had together"),
        (("show", "shop.Stock", "coffee"), 4, "no shop.Stock has the id 'coffee'"),
        (("list", "shop.Stok"), 0, "did you mean 'shop.Stock'"),
    ],
)
def test_what_is_wrong_is_explained(
    outlast: Outlast, url: str, worker: sync.Engine, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = outlast("objects", *arguments, "--url", url)

    assert (answer.code, told in answer.err) == (code, True), answer


def test_without_a_worker_a_call_is_refused_at_once(outlast: Outlast, url: str) -> None:
    answer = outlast("objects", "call", "shop:Stock", "tea", "take", "--url", url)

    assert (answer.code, "no worker is alive" in answer.err) == (2, True)
    assert "no objects" in outlast("objects", "--url", url).err


def test_stats_and_doctor_tell_of_objects(outlast: Outlast, url: str, worker: sync.Engine) -> None:
    assert outlast("stats", "--url", url, "--json").json["objects"] == [
        {"type": "shop.Stock", "objects": 1, "owned": 1}
    ]
    assert "shop.Stock" in outlast("stats", "--url", url).out
    assert [
        each for each in outlast("doctor", "--url", url, "--json").json["findings"] if each["subject"] == "alarms"
    ] == []


def test_doctor_tells_of_alarms_that_do_not_ring() -> None:
    fine = PendingAlarm("A", "1", "tick", NOW + timedelta(hours=1), 0, None, None, None, False)
    late = PendingAlarm("A", "2", "tick", NOW - timedelta(minutes=5), 0, None, None, None, False)
    failed = PendingAlarm("B", "3", "tock", NOW - timedelta(days=5), 10, None, None, {"type": "X"}, True)

    found = list(of_alarms([late, fine, failed], CALM, []))

    assert [(level, sentence.split(", such")[0]) for level, _, sentence in found] == [
        ("problem", "1 alarms of A are due, the first for 5m, and do not ring: no worker is alive"),
        ("warning", "1 alarms of B have failed for good"),
    ]
    assert "does any worker know A?" in next(of_alarms([late], CALM, [ALIVE]))[2]
    assert list(of_alarms([fine], CALM, [])) == []
