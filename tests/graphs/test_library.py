"""The library's own marks are what the drawing looks for."""

from typing import Any

from outlast import hours, seconds, workflows
from outlast.graphs import draw, tree
from outlast.graphs.reading.meaning import PRIMITIVES
from outlast.workflows import each, parallel, sleep, step, wait_for_any, wait_for_signal, workflow


@step(name="graphs.refund")
async def refund(order: int) -> None: ...


@step(compensate=refund, max_attempts=3, timeout=seconds(30))
async def charge(order: int) -> int:
    return order


@step
async def ship(order: int) -> int:
    return order


@workflow(name="graphs.order", timeout=hours(2))
async def process(order: int) -> Any:
    first, _ = await parallel(charge(order), wait_for_signal("bank.settled", timeout=hours(2)))
    await sleep(hours(1))
    await each(range(first), ship)
    return await wait_for_any("a", "b")


def test_a_workflow_of_the_library_is_drawn() -> None:
    assert tree(draw(process)) == (
        "graphs.order\n"
        "├─ in parallel\n"
        "│  ├─ branch 1: step charge (undone by graphs.refund)\n"
        '│  └─ branch 2: wait for signal "bank.settled" (timeout 2 hours)\n'
        "├─ sleep 1 hour\n"
        "├─ each of range(first)\n"
        "│  └─ step ship\n"
        '└─ wait for any of "a", "b"\n'
    )


def test_every_primitive_of_the_library_is_known() -> None:
    marked = {getattr(one, "outlast_primitive", None) for one in vars(workflows).values()} - {None}

    assert marked
    assert marked <= PRIMITIVES
