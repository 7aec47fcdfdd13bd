"""A run laid over a drawing: what became of each box, and the way it took."""

from typing import Any

import pytest

from outlast.graphs import Graph, RunState, draw, with_run
from tests.graphs.shop import (
    Rejected,
    arrows,
    charge,
    check_credit,
    notify,
    parallel,
    process_order,
    reserve,
    ship,
    short,
    wait_for_signal,
)

DONE = RunState("done")


def taken(graph: Graph) -> set[str]:
    return {f"{short(edge.source)} > {short(edge.target)}" for edge in graph.edges if edge.taken}


def test_the_way_is_marked_as_far_as_it_went() -> None:
    states = {"step:reserve#1": DONE, "step:check_credit#1": RunState("running", 3)}

    graph = with_run(draw(process_order), states)

    assert taken(graph) == {"start > fork", "fork > reserve", "fork > check_credit"}
    assert {short(node.id) for node in graph.nodes if node.taken} == {"start", "fork", "reserve", "check_credit"}
    assert graph.by_id()["step:check_credit#1"].run == RunState("running", 3)


def test_a_run_that_ended_is_marked_to_its_end() -> None:
    steps = ("step:reserve#1", "step:check_credit#1", "step:charge#1", "wait:bank.settled#1", "end#1")
    states = {**dict.fromkeys(steps, DONE), "step:ship#1": RunState("done", 1, 2)}

    graph = with_run(draw(process_order), states)

    assert {"decision > charge", "loop > ship", "ship > loop", "loop > end"} <= taken(graph)
    assert "decision > input:manager" not in taken(graph)
    assert not graph.by_id()["decision#2"].taken


def test_a_run_that_was_refused_is_marked_to_its_failure() -> None:
    steps = ("step:reserve#1", "step:check_credit#1", "input:manager#1")

    graph = with_run(draw(process_order), {**dict.fromkeys(steps, DONE), "failed#1": RunState("failed")})

    assert {"decision > input:manager", "input:manager > decision#2", "decision#2 > failed"} <= taken(graph)
    assert "decision#2 > charge" not in taken(graph)


async def attempted(order: Any) -> None:
    try:
        await charge(order)
    except Rejected:
        await notify(order)
    await ship(order)


def test_an_error_that_was_handled_leads_through_its_handler() -> None:
    states = {
        "step:charge#1": RunState("failed"),
        "compensation:refund#1": RunState("done"),
        "step:notify#1": DONE,
        "step:ship#1": RunState("waiting"),
    }

    graph = with_run(draw(attempted), states)

    assert taken(graph) == {
        "start > charge",
        "charge > compensation:refund",
        "charge > except",
        "except > notify",
        "notify > ship",
    }


async def sometimes(order: Any) -> None:
    for item in order.items:
        if item.big:
            await reserve(item)
        await ship(item)


def test_within_a_loop_both_arms_may_have_been_taken() -> None:
    drawn = draw(sometimes)

    always = with_run(drawn, {"step:reserve#1": RunState("done", 1, 2), "step:ship#1": RunState("done", 1, 2)})
    mixed = with_run(drawn, {"step:reserve#1": RunState("done", 1, 2), "step:ship#1": RunState("done", 1, 5)})

    assert "decision > reserve" in taken(always) & taken(mixed)
    assert "decision > ship" in taken(mixed) - taken(always)


async def ambiguous(order: Any) -> None:
    await reserve(order)
    while order.waits:
        if order.big:
            break
        if order.small:
            continue
        await check_credit(order)
    await ship(order)


def test_where_records_cannot_tell_nothing_is_claimed() -> None:
    graph = with_run(draw(ambiguous), {"step:reserve#1": DONE, "step:ship#1": DONE})

    assert "reserve > loop" in taken(graph)
    assert not {one for one in taken(graph) if one.endswith("> ship")}
    assert graph.by_id()["step:ship#1"].taken


async def joined(order: Any) -> None:
    await parallel(wait_for_signal("paid"), reserve(order))
    await ship(order)


def test_skipped_is_not_taken() -> None:
    states = {"wait:paid#1": RunState("skipped"), "step:reserve#1": DONE, "step:ship#1": DONE}

    graph = with_run(draw(joined), states)

    assert taken(graph) == {"start > fork", "fork > reserve", "reserve > join", "join > ship"}


def test_nothing_recorded_marks_nothing() -> None:
    graph = with_run(draw(process_order), {})

    assert not taken(graph)
    assert not any(node.taken or node.run for node in graph.nodes)
    assert arrows(graph) == arrows(draw(process_order))


def test_a_second_run_takes_the_place_of_the_first() -> None:
    first = with_run(draw(process_order), {"step:reserve#1": DONE, "step:gone#1": DONE})

    second = with_run(first, {"step:check_credit#1": DONE})

    assert first.unplaced == ("step:gone#1",)
    assert second == with_run(draw(process_order), {"step:check_credit#1": DONE})


@pytest.mark.parametrize(
    ("status", "duration_s", "count"), [("late", 1.0, 1), ("done", -1.0, 1), ("done", float("nan"), 1), ("done", 1, -1)]
)
def test_states_refuse_nonsense(status: Any, duration_s: float, count: int) -> None:
    with pytest.raises(ValueError, match="must"):
        RunState(status, duration_s, count)
