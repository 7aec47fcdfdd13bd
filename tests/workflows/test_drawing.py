"""A run on its drawing, and what the command line shows of workflows."""

import pytest

from outlast import Engine
from outlast.errors import ConfigError, NotFound, UnknownProgram
from outlast.graphs import mermaid, svg, tree
from outlast.testing import clock_of, drain
from tests.testing.programs import greet
from tests.workflows.programs import order, payment, saga


def states(graph: object) -> dict[str, str]:
    return {node.id: node.run.status for node in graph.nodes if node.run is not None}  # type: ignore[attr-defined]


async def test_a_run_lies_on_the_drawing(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand)
    graph = await hand.graph(handle)
    assert states(graph) == {"step:reserve#1": "done", "step:charge#1": "done", "sleep:sleep#1": "waiting"}

    clock_of(hand).jump(3601)
    await drain(hand)
    graph = await hand.graph(handle)

    assert states(graph) == {
        "step:reserve#1": "done",
        "step:charge#1": "done",
        "sleep:sleep#1": "done",
        "step:ship#1": "done",
        "end#1": "done",
    }
    assert "charge" in tree(graph)
    assert svg(graph).startswith("<svg")
    assert "charge" in mermaid(graph)


async def test_what_failed_and_what_was_undone(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=3))
    await drain(hand)

    found = {node.id: node.run for node in (await hand.graph(handle)).nodes if node.run is not None}

    assert found["step:charge#1"].status == "failed"
    assert found["step:charge#1"].count == 3
    assert found["compensation:refund#1"].status == "done"
    assert found["failed#1"].status == "failed"


async def test_waits_are_told_apart_by_their_name(hand: Engine) -> None:
    handle = await hand.start(payment.new(3600))
    await drain(hand)

    assert states(await hand.graph(handle))["wait:paid#1"] == "waiting"


async def test_before_it_runs(hand: Engine) -> None:
    assert "step reserve" in tree(hand.drawing("wf.order"))
    with pytest.raises(UnknownProgram):
        hand.drawing("wf.ordr")
    with pytest.raises(NotFound):
        await hand.graph("nobody")
    await hand.start(greet.new(name="ann"))
    with pytest.raises(ConfigError, match="no workflow"):
        hand.drawing("kit.greet")


async def test_the_journal_can_be_read(hand: Engine) -> None:
    handle = await hand.start(order.new(7))
    await drain(hand)

    steps = await hand.steps(handle)

    assert [(step.key, step.kind, step.name, step.branch, step.status) for step in steps] == [
        ("reserve#1", "step", "reserve", "", "done"),
        ("charge#1", "step", "charge", "", "done"),
        ("sleep#1", "sleep", "sleep", "", "waiting"),
    ]
    assert steps[1].value == {"order": 7, "cents": 500}
    assert steps[0].duration_s is not None
    assert steps[2].wake_at is not None
