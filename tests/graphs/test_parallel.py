"""What runs side by side, and where it comes together."""

import asyncio
from typing import Any

from outlast.graphs import draw
from tests.graphs.shop import (
    arrows,
    call_child,
    charge,
    check_credit,
    deliver,
    each,
    labels,
    notify,
    parallel,
    reserve,
    ship,
)


async def forked(order: Any) -> Any:
    return await parallel(reserve(order), check_credit(order), call_child(deliver, order))


def test_parallel_forks_and_joins() -> None:
    assert arrows(draw(forked)) == {
        "start -> fork",
        "fork -[parallel]-> reserve",
        "fork -[parallel]-> check_credit",
        "fork -[parallel]-> child:deliver",
        "reserve -> join",
        "check_credit -> join",
        "child:deliver -> join",
        "join -> end",
    }


async def gathered(order: Any) -> Any:
    return await asyncio.gather(reserve(order), *[ship(item) for item in order.items], return_exceptions=True)


def test_gather_counts_as_parallel() -> None:
    assert {
        "fork -[parallel]-> reserve",
        "fork -[parallel for item in order.items]-> ship",
        "reserve -> join",
        "ship -> join",
    } <= arrows(draw(gathered))


async def pack(order: Any) -> None:
    if order.fragile:
        await notify(order)
    await ship(order)


async def named(order: Any) -> Any:
    return await parallel({"stock": reserve(order), "pack": pack(order)}, late=lambda: charge(order), limit=3)


def test_branches_may_be_named_helpers_or_lambdas() -> None:
    graph = draw(named)

    assert {
        "fork -[parallel stock]-> reserve",
        "fork -[parallel pack]-> decision",
        "decision -[branch no]-> ship",
        "fork -[parallel late]-> charge",
        "ship -> join",
        "charge -> join",
    } <= arrows(graph)
    assert {group.label for group in graph.groups if group.kind == "branch"} == {"stock", "pack", "late"}


async def task_group(order: Any) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reserve(order))
        if order.total:
            tasks.create_task(check_credit(order))
        await notify(order)
    await ship(order)


def test_a_task_group_forks_where_tasks_are_made() -> None:
    assert {
        "start -> fork",
        "fork -[parallel]-> reserve",
        "fork -> decision",
        "decision -[parallel yes]-> check_credit",
        "decision -[branch yes]-> notify",
        "decision -[branch no]-> notify",
        "reserve -> join",
        "check_credit -> join",
        "notify -> join",
        "join -> ship",
    } <= arrows(draw(task_group))


async def tasks_of(order: Any) -> None:
    async with asyncio.TaskGroup() as tasks:
        for item in order.items:
            tasks.create_task(ship(item))


def test_tasks_made_in_a_loop_join_behind_it() -> None:
    assert arrows(draw(tasks_of)) == {
        "start -> fork",
        "fork -> loop",
        "loop -[parallel each]-> ship",
        "loop -[branch done]-> join",
        "ship -> join",
        "join -> end",
    }


async def made_before(order: Any) -> Any:
    calls = [ship(item) for item in order.items]
    return await asyncio.gather(*calls)


def test_branches_made_before_come_together() -> None:
    graph = draw(made_before)

    assert {"loop -[branch each]-> ship", "loop -[branch done]-> join", "join -> end"} <= arrows(graph)
    assert labels(graph, "join") == ["all of calls"]


async def beside(order: Any) -> Any:
    task = asyncio.create_task(notify(order))
    task.set_name("beside")
    return await ship(order)


def test_a_task_of_its_own_goes_on_beside() -> None:
    assert arrows(draw(beside)) == {"start -[parallel]-> notify", "start -> ship", "ship -> end", "notify -> end"}


async def for_each(order: Any) -> None:
    await each(order.items, ship)
    await each(lambda item: pack(item), order.boxes, limit=3)


def test_each_repeats_a_branch() -> None:
    graph = draw(for_each)

    assert {"each -[parallel]-> ship", "ship -> join", "join -> each#2", "each#2 -[parallel]-> decision"} <= arrows(
        graph
    )
    assert labels(graph, "each") == ["each of order.items", "each of order.boxes"]


async def handed_over(order: Any, calls: Any) -> None:
    await parallel(reserve(order), *calls)


def test_branches_that_cannot_be_told_say_so() -> None:
    graph = draw(handed_over)

    assert {"fork -[parallel]-> reserve", "fork -[parallel]-> unreadable", "unreadable -> join"} <= arrows(graph)
