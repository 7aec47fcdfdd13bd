"""A shop whose workflows are drawn: marks as the library puts them, without the library."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from outlast.graphs import Edge, Graph


class Marked:
    """Something callable that carries one of the marks."""

    def __init__(self, **marks: object) -> None:
        vars(self).update(marks)

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        return arguments, options


def step(name: str, compensate: object = None) -> Marked:
    return Marked(outlast_step_name=name, outlast_compensate=compensate)


def primitive(name: str) -> Marked:
    return Marked(outlast_primitive=name)


class Order(Protocol):
    id: str
    total: int
    kind: str
    items: list[str]


reserve = step("reserve")
check_credit = step("check_credit")
refund = step("refund")
charge = step("charge", compensate=refund)
ship = step("ship")
notify = step("notify")

sleep = primitive("sleep")
sleep_until = primitive("sleep_until")
wait_for_signal = primitive("wait_for_signal")
wait_for_any = primitive("wait_for_any")
wait_for_all = primitive("wait_for_all")
wait_for_input = primitive("wait_for_input")
wait_for_approval = primitive("wait_for_approval")
wait_for_choice = primitive("wait_for_choice")
parallel = primitive("parallel")
each = primitive("each")
call_child = primitive("call_child")
start_child = primitive("start_child")
deliver = Marked(outlast_workflow_name="deliver")


class Rejected(Exception):
    """The order is not for us."""


def days(number: int) -> int:
    return number * 86_400


def hours(number: int) -> int:
    return number * 3_600


async def process_order(order: Order) -> object:
    """The example of the design, whole."""
    stock, credit = await parallel(reserve(order), check_credit(order))
    if order.total > 1_000:
        if await wait_for_approval("manager", prompt=f"Ship {order.id}?", timeout=days(3)) != "approved":
            raise Rejected(order.id)
    receipt = await charge(order)
    paid = await wait_for_signal("bank.settled", timeout=days(7))
    for item in order.items:
        await ship(item)
    return receipt, stock, credit, paid


async def everything(order: Order, handler: Callable[[Order], Awaitable[None]]) -> object:
    """One of each construct."""
    match order.kind:
        case "gift" | "sample":
            await ship(order)
            return None
        case "unknown":
            raise Rejected(order.id)
    while True:
        if await check_credit(order):
            break
        await sleep(hours(1))
    try:
        await charge(order)
        await reserve(order)
    except TimeoutError:
        await notify(order, "late")
    except (ValueError, KeyError) as error:
        await notify(order, "wrong")
        raise Rejected(order.id) from error
    finally:
        await settle(order)
    async with asyncio.TaskGroup() as tasks:
        for item in order.items:
            tasks.create_task(ship(item))
        tasks.create_task(notify(order))
    await asyncio.gather(*[ship(item) for item in order.items], call_child(deliver, order))
    await each(order.items, ship)
    await handler(order)
    await start_child(deliver, order)
    return await settle(order)


async def settle(order: Order) -> bool:
    done = await wait_for_any("paid", "cancelled", timeout=hours(2))
    if done is None:
        return await settle(order)
    return True


def arrows(graph: Graph) -> set[str]:
    """Edges as short text: `charge -> ship`, `decision -[branch yes]-> ship#2`."""
    return {_arrow(edge) for edge in graph.edges}


def _arrow(edge: Edge) -> str:
    words = " ".join(word for word in ("" if edge.kind == "normal" else edge.kind, edge.label) if word)
    return f"{short(edge.source)} {f'-[{words}]->' if words else '->'} {short(edge.target)}"


def short(node: str) -> str:
    """An id without what goes without saying: `step:charge#1` is `charge`."""
    return node.removeprefix("step:").removesuffix("#1")


def labels(graph: Graph, kind: str) -> list[str]:
    """What stands in the boxes of a kind."""
    return [node.label for node in graph.nodes if node.kind == kind]
