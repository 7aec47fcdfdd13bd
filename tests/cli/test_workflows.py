"""Workflows from the shell: started, shown, answered, drawn."""

import asyncio
import importlib
from pathlib import Path

import pytest

from outlast import sleep, step, workflow
from outlast.testing import by_hand, clock_of, drain
from tests.cli.conftest import Outlast, forget


def drained(url: str, folder: Path) -> None:
    """Runs what can run, as a worker would."""

    async def run() -> None:
        shop = importlib.import_module("shop")
        async with by_hand(url=url, programs=[shop.buy, shop.ask, shop.Checkout]) as engine:
            await drain(engine)

    asyncio.run(run())
    forget(folder)


def begun(outlast: Outlast, url: str, folder: Path) -> str:
    """A workflow that waits for its manager; its id."""
    started = outlast("start", "shop:buy", "--arg", "order=7", "--url", url)
    assert started.code == 0, started.err
    drained(url, folder)
    return started.out.strip()


def test_a_workflow_is_started_shown_answered_and_ends(outlast: Outlast, url: str, folder: Path) -> None:
    id = begun(outlast, url, folder)

    (asked,) = outlast("pending", "--url", url, "--json").json
    assert (asked["instance"], asked["name"], asked["prompt"]) == (id, "manager", "Ship it?")
    assert "Ship it?" in outlast("pending", "--url", url, "--name", "manager").out
    shown = outlast("show", id[:13], "--url", url)
    assert "charge#1" in shown.out
    assert "charged 7" in shown.out
    assert [step["key"] for step in outlast("show", id, "--url", url, "--json").json["steps"]] == [
        "charge#1",
        "input:manager#1",
    ]

    assert outlast("input", id, "manager", "maybe", "--url", url).code == 2
    assert outlast("input", id, "boss", "true", "--url", url).code == 4
    assert outlast("input", id, "manager", "true", "--url", url).out == "delivered\n"
    drained(url, folder)

    assert outlast("show", id, "--url", url, "--json").json["result"] == ["charged 7", "approved"]
    assert outlast("pending", "--url", url).err == "nobody is asked for anything\n"


def test_what_is_asked_and_ends_soon_is_shown(outlast: Outlast, url: str, folder: Path) -> None:
    begun(outlast, url, folder)
    asks = outlast("start", "shop:ask", "--url", url).out.strip()
    drained(url, folder)

    def asked(until: str) -> list[str]:
        return [each["instance"] for each in outlast("pending", "--until", until, "--url", url, "--json").json]

    assert asked("30m") == []
    assert asked("2h") == asked("2099-01-01T00:00:00Z") == [asks]
    assert outlast("pending", "--until", "soon", "--url", url).code == 2


def test_an_input_is_called_off(outlast: Outlast, url: str, folder: Path) -> None:
    id = begun(outlast, url, folder)

    assert outlast("pending", "--url", url, "--until", "2h").err == "nobody is asked for anything\n"
    assert outlast("input", id, "manager", "--url", url).code == 2
    assert outlast("input", id, "manager", "true", "--cancel", "--url", url).code == 2
    assert outlast("input", id, "manager", "true", "--reason", "x", "--url", url).code == 2
    assert outlast("input", id, "manager", "--cancel", "--reason", "sold out", "--url", url).out == "delivered\n"
    drained(url, folder)

    shown = outlast("show", id, "--url", url, "--json").json
    assert (shown["status"], shown["error"]["message"]) == ("failed", "input 'manager' was called off: sold out")


def test_who_waits_for_a_signal_is_shown(outlast: Outlast, url: str, folder: Path) -> None:
    begun(outlast, url, folder)
    assert outlast("pending", "--signals", "--url", url).err == "nobody waits for a signal\n"
    waits = outlast("start", "shop:Checkout", "--arg", "order=1", "--url", url).out.strip()
    drained(url, folder)

    assert waits in outlast("pending", "--signals", "--url", url).out
    shown = outlast("pending", "--signal", "payment", "--url", url, "--json").json
    assert [(each["id"], each["awaits"]) for each in shown] == [(waits, ["payment"])]
    assert outlast("pending", "--signal", "other", "--url", url).err == "nobody waits for 'other'\n"
    assert outlast("pending", "--signals", "--until", "2h", "--url", url).err == "nobody waits for a signal\n"
    assert outlast("pending", "--signals", "--name", "x", "--url", url).code == 2
    assert [each["id"] for each in outlast("list", "--waiting-for", "payment", "--url", url, "--json").json] == [waits]


def test_a_workflow_is_drawn_before_and_while_it_runs(outlast: Outlast, url: str, folder: Path) -> None:
    assert "step charge" in outlast("graph", "shop:buy").out
    id = begun(outlast, url, folder)

    assert outlast("graph", "shop:buy", "--format", "mermaid").out.startswith(("flowchart", "%%", "---", "graph"))
    drawn = outlast("graph", id, "--app", "shop", "--url", url).out
    assert "charge" in drawn
    assert "done" in drawn
    written = outlast("graph", "shop:buy", "--format", "svg", "--out", "buy.svg")
    assert (written.code, written.err) == (0, "svg written to buy.svg\n")
    assert (folder / "buy.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("graph", "shop:shop.add"), 2, "no workflow"),
        (("graph", "shop:nothing"), 4, "nothing"),
        (("graph", "buy"), 2, "Which module"),
        (("input", "0190a2b3-0000-7000-8000-000000000000", "x", "1"), 4, "no instance"),
    ],
)
def test_wrong_usage_is_explained(outlast: Outlast, url: str, arguments: tuple[str, ...], code: int, told: str) -> None:
    answer = outlast(*arguments, *(() if arguments[0] == "graph" else ("--url", url)))

    assert (answer.code, told in answer.err) == (code, True), answer.err


def test_a_step_that_the_code_no_longer_calls_is_marked(outlast: Outlast, url: str) -> None:
    @step
    async def charge(order: int) -> str:
        return f"charged {order}"

    @workflow(name="cli.release")
    async def before() -> None:
        await charge(7)
        await sleep(60)

    @workflow(name="cli.release")
    async def after() -> None:
        await sleep(60)

    async def run() -> str:
        async with by_hand(url=url, programs=[before]) as engine:
            handle = await engine.start(before.new())
            await drain(engine)
        async with by_hand(url=url, programs=[after]) as engine:
            clock_of(engine).jump(61)
            await drain(engine)
        return handle.id

    id = asyncio.run(run())

    (line,) = [line for line in outlast("show", id, "--url", url).out.splitlines() if "charge#1" in line]
    assert "done, not called" in line
    assert {step["key"]: step["called"] for step in outlast("show", id, "--url", url, "--json").json["steps"]} == {
        "charge#1": False,
        "sleep#1": True,
    }


def test_a_step_that_ran_elsewhere_names_its_errand_and_its_lines_are_among_the_workflow_s(
    outlast: Outlast, url: str
) -> None:
    @step(on="gpu")
    async def train(model: str) -> str:
        print("training", model)
        return model

    @step
    async def publish(model: str) -> None:
        print("publishing", model)

    @workflow(name="cli.training")
    async def training() -> None:
        await publish(await train("small"))
        await publish(await train("large"))

    async def run() -> str:
        async with by_hand(url=url, programs=[training, train]) as engine:
            handle = await engine.start(training.new())
            await drain(engine)
        return handle.id

    id = asyncio.run(run())

    errands = {step["key"]: step["errand"] for step in outlast("show", id, "--url", url, "--json").json["steps"]}
    assert [key for key, errand in errands.items() if errand is not None] == ["train#1", "train#2"]
    shown = outlast("show", str(errands["train#1"]), "--url", url).out
    assert "step:train" in shown
    lines = [line.partition("INFO")[2].split() for line in outlast("logs", id, "--url", url).out.splitlines()]
    assert lines == [
        ["train#1:", "training", "small"],
        ["publish#1:", "publishing", "small"],
        ["train#2:", "training", "large"],
        ["publish#2:", "publishing", "large"],
    ]
    assert [line["step"] for line in outlast("logs", id, "--url", url, "--step", "train", "--json").json] == [
        "train#1",
        "train#2",
    ]
    followed = outlast("logs", id, "-f", "--url", url)
    assert sorted(followed.out.splitlines()) == sorted(outlast("logs", id, "--url", url).out.splitlines())
