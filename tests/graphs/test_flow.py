"""Decisions, loops and early ends become arrows."""

import asyncio
from typing import Any

from outlast.graphs import draw
from tests.graphs.shop import Rejected, arrows, charge, check_credit, labels, notify, reserve, ship, sleep


async def straight(order: Any) -> Any:
    total = sum(order.prices)
    if total > 3:
        total = 3
    for price in order.prices:
        if price < 0:
            continue
        total += price
    try:
        total = int(total)
    except ValueError:
        total = 0
    receipt = await charge(order, total)
    return receipt


def test_straight_line_code_is_not_drawn() -> None:
    assert arrows(draw(straight)) == {
        "start -> charge",
        "charge -[compensation]-> compensation:refund",
        "charge -> end",
    }


async def decided(order: Any) -> None:
    if order.total > 1_000:
        await reserve(order)
    elif order.total > (
        10  # Enough to look.
    ):
        await check_credit(order)
    elif order.gift:
        return
    else:
        raise Rejected
    await ship(order)


def test_a_decision_has_an_arm_for_each_way() -> None:
    graph = draw(decided)

    assert arrows(graph) == {
        "start -> decision",
        "decision -[branch yes]-> reserve",
        "decision -[branch no]-> decision#2",
        "decision#2 -[branch yes]-> check_credit",
        "decision#2 -[branch no]-> decision#3",
        "decision#3 -[branch yes: return]-> end",
        "decision#3 -[error no: raise Rejected]-> failed",
        "reserve -> ship",
        "check_credit -> ship",
        "ship -> end",
    }
    assert labels(graph, "decision") == ["order.total > 1_000", "order.total > 10", "order.gift"]


async def long_condition(order: Any) -> None:
    if order.total > 1_000 and order.customer.is_known and order.country in ("CH", "DE", "AT", "FR"):
        await ship(order)


async def asked(order: Any) -> None:
    if await check_credit(order, "a long argument") and order.total:
        await ship(order)
    while not await reserve(order):
        await sleep(5)


def test_a_condition_is_shown_in_short() -> None:
    (condition,) = labels(draw(long_condition), "decision")

    assert condition == "order.total > 1_000 and order.customer.is_known and order.c…"
    assert len(condition) == 60


def test_steps_within_a_condition_come_before_it() -> None:
    graph = draw(asked)

    assert {"start -> check_credit", "check_credit -> decision", "decision -[branch yes]-> ship"} <= arrows(graph)
    assert labels(graph, "decision") == ["check_credit(…) and order.total"]
    # The condition of `while` runs anew each time.
    assert {"reserve -> loop", "loop -[branch yes]-> sleep:sleep", "sleep:sleep -[loop]-> reserve"} <= arrows(graph)
    assert labels(graph, "loop") == ["while not reserve(…)"]


async def within_expressions(order: Any) -> Any:
    first = await reserve(order) if order.total else await check_credit(order)
    return first or await ship(order)


def test_choices_within_expressions_are_decisions() -> None:
    graph = draw(within_expressions)

    assert arrows(graph) == {
        "start -> decision",
        "decision -[branch yes]-> reserve",
        "decision -[branch no]-> check_credit",
        "reserve -> decision#2",
        "check_credit -> decision#2",
        "decision#2 -[branch no]-> ship",
        "decision#2 -[branch yes]-> end",
        "ship -> end",
    }


async def matched(order: Any) -> None:
    match order.kind:
        case "gift" | "sample":
            await reserve(order)
        case str() as kind if kind.startswith("x"):
            raise Rejected(kind)
        case "plain":
            pass
    match order.total:
        case 0:
            await check_credit(order)
        case _:
            await charge(order)


def test_match_has_an_arm_for_each_case() -> None:
    graph = draw(matched)

    assert {
        "start -> decision",
        'decision -[branch "gift" | "sample"]-> reserve',
        'decision -[error str() as kind if kind.startswith("x"): raise Rejected(kind)]-> failed',
        'decision -[branch "plain"]-> decision#2',
        "decision -[branch no case]-> decision#2",
        "decision#2 -[branch 0]-> check_credit",
        "decision#2 -[branch _]-> charge",
    } <= arrows(graph)
    assert "decision#2 -[branch no case]-> end" not in arrows(graph)
    assert labels(graph, "decision") == ["match order.kind", "match order.total"]


async def looped(order: Any) -> None:
    for item in order.items:
        if item.gone:
            continue
        if item.bad:
            break
        await ship(item)
    else:
        await notify(order)
    await charge(order)


def test_a_loop_leads_back_and_out() -> None:
    graph = draw(looped)

    assert {
        "start -> loop",
        "loop -[branch each]-> decision",
        "decision -[loop yes: continue]-> loop",
        "decision -[branch no]-> decision#2",
        "decision#2 -[branch yes: break]-> charge",
        "decision#2 -[branch no]-> ship",
        "ship -[loop]-> loop",
        "loop -[branch done]-> notify",
        "notify -> charge",
        "charge -> end",
    } <= arrows(graph)
    assert labels(graph, "loop") == ["for item in order.items"]


async def endless(order: Any) -> None:
    while True:
        await check_credit(order)
    await ship(order)


async def streamed(order: Any) -> None:
    async for event in order.events():
        await notify(event)


def test_an_endless_loop_has_no_way_out() -> None:
    graph = draw(endless)

    assert arrows(graph) == {"start -> loop", "loop -> check_credit", "check_credit -[loop]-> loop"}


def test_async_for_is_a_loop() -> None:
    assert labels(draw(streamed), "loop") == ["async for event in order.events()"]


async def comprehended(order: Any) -> Any:
    return [await ship(item) for box in order.boxes for item in box if item.ok]


def test_a_comprehension_over_steps_is_a_loop() -> None:
    graph = draw(comprehended)

    assert labels(graph, "loop") == ["for box in order.boxes for item in box if item.ok"]
    assert {"loop -[branch each]-> ship", "ship -[loop]-> loop", "loop -[branch done]-> end"} <= arrows(graph)


async def dead(order: Any) -> Any:
    return await ship(order)
    await charge(order)


def test_what_cannot_be_reached_is_not_drawn() -> None:
    assert arrows(draw(dead)) == {"start -> ship", "ship -[return]-> end"}


async def nested_calls(order: Any) -> Any:
    return await ship(await charge(await reserve(order)), note=await check_credit(order))


def test_arguments_run_before_what_they_are_for() -> None:
    assert {"reserve -> charge", "charge -> check_credit", "check_credit -> ship"} <= arrows(draw(nested_calls))


async def wrapped(order: Any) -> Any:
    async with asyncio.timeout(5):
        return await asyncio.wait_for(asyncio.shield(ship(order)), 3)


def test_a_step_is_seen_through_asyncio() -> None:
    assert arrows(draw(wrapped)) == {"start -> ship", "ship -> end"}


def test_groups_tell_which_part_of_the_code_a_box_lies_in() -> None:
    graph = draw(decided)
    groups = {group.id: group for group in graph.groups}

    placed = {node.id: groups[node.group] for node in graph.nodes if node.group}

    assert placed["step:check_credit#1"].owner == "decision#2"
    assert placed["step:check_credit#1"].label == "yes"
    assert groups[str(placed["step:check_credit#1"].group)].label == "no"
    assert placed["decision#2"].owner == "decision#1"
    assert "step:ship#1" not in placed
