"""What names stand for: steps, waits, children, helpers; and what cannot be told says why."""

import builtins
import functools
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.graphs import Graph, draw
from tests.graphs import elsewhere, generated, shop
from tests.graphs.shop import (
    arrows,
    call_child,
    charge,
    days,
    deliver,
    hours,
    labels,
    notify,
    ship,
    sleep,
    sleep_until,
    start_child,
    step,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_input,
    wait_for_signal,
)


async def waits(order: Any) -> None:
    await sleep(90)
    await sleep(hours(1))
    await sleep_until(order.due)
    await wait_for_signal("bank.settled", timeout=days(7))
    await wait_for_signal(f"paid.{order.id}")
    await wait_for_any("a", "b", timeout=order.patience)
    await wait_for_all(["c", "d"])
    await wait_for_input(name="note", timeout=60)
    await wait_for_approval("manager", prompt="Ship?")
    await wait_for_choice("size", ["S", "M"])


def test_waits_show_their_literals() -> None:
    shown = [(node.kind, node.label, node.detail) for node in draw(waits).nodes[1:-1]]

    assert shown == [
        ("sleep", "sleep 90 s", ""),
        ("sleep", "sleep 1 hour", ""),
        ("sleep", "sleep until order.due", ""),
        ("wait", 'wait for signal "bank.settled"', "timeout 7 days"),
        ("wait", 'wait for signal f"paid.{order.id}"', ""),
        ("wait", 'wait for any of "a", "b"', ""),
        ("wait", 'wait for all of "c", "d"', ""),
        ("input", 'ask for input "note"', "timeout 60 s"),
        ("input", 'ask for approval "manager"', ""),
        ("input", 'ask for a choice "size"', ""),
    ]


def test_ids_and_lines_are_those_of_the_code() -> None:
    graph = draw(waits)

    first = waits.__code__.co_firstlineno
    assert [(node.id, node.line - first) for node in graph.nodes[3:6]] == [
        ("sleep:sleep_until#1", 3),
        ("wait:bank.settled#1", 4),
        ("wait:wait_for_signal#1", 5),
    ]
    assert graph == draw(waits)
    assert len({node.id for node in graph.nodes}) == len(graph.nodes)


async def children(order: Any) -> None:
    await call_child(deliver, order)
    await start_child(deliver(order))
    await start_child(order.workflow)


def test_children_are_named() -> None:
    shown = [(node.label, node.detail) for node in draw(children).nodes if node.kind == "child"]

    assert shown == [
        ("deliver", "child workflow"),
        ("deliver", "child workflow, not waited for"),
        ("order.workflow", "child workflow, not waited for"),
    ]


async def settle(order: Any) -> None:
    if order.paid:
        return
    await charge(order)


async def twice(order: Any) -> None:
    await settle(order)
    await ship(order)
    await settle(order)


def test_a_helper_is_followed_once() -> None:
    graph = draw(twice)

    assert arrows(graph) == {
        "start -> decision",
        "decision -[branch yes]-> ship",
        "decision -[branch no]-> charge",
        "charge -[compensation]-> compensation:refund",
        "charge -> ship",
        "ship -> helper:settle",
        "helper:settle -> end",
    }
    assert [(group.kind, group.label) for group in graph.groups] == [("helper", "settle()")]
    (box,) = (node for node in graph.nodes if node.kind == "helper")
    assert box.detail == f"as drawn for line {twice.__code__.co_firstlineno + 1}"


async def again(order: Any) -> None:
    await ship(order)
    await and_again(order)


async def and_again(order: Any) -> None:
    await again(order)


async def itself(order: Any) -> None:
    await charge(order)
    await itself(order)


def test_recursion_becomes_a_box_that_says_so() -> None:
    (box,) = (node for node in draw(again).nodes if node.kind == "recursion")
    (other,) = (node for node in draw(itself).nodes if node.kind == "recursion")

    assert (box.label, box.detail) == ("again()", "calls itself: not drawn again")
    assert other.label == "itself()"


def ping(count: int) -> int:
    return pong(count - 1) if count else 0


def pong(count: int) -> int:
    return ping(count)


async def plain_helpers(order: Any) -> None:
    ping(3)
    await nothing(order)
    await ship(order)


async def nothing(order: Any) -> None:
    if order.bad:
        raise ValueError


def test_helpers_without_a_box_are_not_followed() -> None:
    assert arrows(draw(plain_helpers)) == {"start -> ship", "ship -> end"}


async def foreign(order: Any) -> None:
    await elsewhere.pack(order)
    await elsewhere.count(order)


def test_a_helper_elsewhere_is_named_but_not_followed() -> None:
    graph = draw(foreign)

    assert [(node.label, node.detail) for node in graph.nodes if node.kind == "helper"] == [
        ("pack()", "in tests.graphs.elsewhere, not followed")
    ]


async def local_names(order: Any) -> None:
    from tests.graphs.shop import reserve

    pay = shop.charge

    async def pack() -> None:
        await pay(order)

    await reserve(order)
    await pack()


def test_local_names_are_followed() -> None:
    assert {"start -> reserve", "reserve -> charge", "charge -> end"} <= arrows(draw(local_names))


def made(pay: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def closed_over(order: Any) -> None:
        await pay(order)

    return closed_over


def test_a_closure_is_looked_into() -> None:
    assert arrows(draw(made(step("pay")))) == {"start -> pay", "pay -> end"}


async def both(order: Any) -> None:
    await first_made(order)
    await second_made(order)


first_made, second_made = made(step("pay")), made(step("pay_later"))


def test_closures_of_the_same_code_are_not_confused() -> None:
    assert {"start -> pay", "pay -> pay_later"} <= arrows(draw(both))


async def calls_a_workflow(order: Any) -> None:
    await deliver(order)


def test_a_workflow_that_is_called_like_a_function_is_no_child() -> None:
    (box,) = (node for node in draw(calls_a_workflow).nodes if node.kind == "unreadable")

    assert box.detail == "deliver(order): it is a workflow, which only call_child and start_child run"


def test_what_is_nested_too_deeply_says_so(tmp_path: Path) -> None:
    lines = ["async def flow(order):", "    if order.x:", "        await ship(order)"]
    lines += [line for n in range(300) for line in (f"    elif order.x == {n}:", "        await ship(order)")]

    graph = draw(generated.load(tmp_path, "deep", "\n".join(["from tests.graphs.shop import ship", *lines])))

    assert [node.detail for node in graph.nodes if node.kind == "unreadable"] == ["it is nested too deeply"]


class Shop:
    partial = functools.partial(notify, "hello")

    @staticmethod
    async def pack(order: Any) -> None:
        await ship(order)


async def attributes(order: Any) -> None:
    await Shop.partial(order)
    await Shop.pack(order)


def test_attributes_partials_and_static_methods_are_seen_through() -> None:
    assert {"start -> notify", "notify -> ship"} <= arrows(draw(attributes))


a_lambda = lambda order: ship(order)  # noqa: E731


async def unreadable(order: Any, handler: Any) -> None:
    await handler(order)
    await a_lambda(order)  # type: ignore[no-untyped-call]
    await missing(order)  # type: ignore[name-defined]  # noqa: F821
    await order.steps[3](order)
    builtins.exec("order = 3")
    other = ship if order.total else notify
    await other(order)
    await shop.no_such_step(order)  # type: ignore[attr-defined]


def test_what_cannot_be_read_says_why() -> None:
    boxes = [node for node in draw(unreadable).nodes if node.kind == "unreadable"]

    assert {box.label for box in boxes} == {"code that cannot be read statically"}
    assert [box.detail for box in boxes] == [
        "handler(order): 'handler' is set while it runs",
        "a_lambda(order): it is a lambda",
        "missing(order): there is no 'missing'",
        "order.steps[3](order): what is called is made while it runs",
        'builtins.exec("order =…: it runs code that is made while it runs',
        "other(order): 'other' is set while it runs",
        "shop.no_such_step(order): module 'tests.graphs.shop' has no 'no_such_step'",
    ]


def without_source() -> types.FunctionType:
    code = compile("async def gone(order): pass", "<gone>", "exec")
    return types.FunctionType(code.co_consts[0], {"__name__": "gone"})


@pytest.mark.parametrize(
    ("function", "reason"), [(without_source(), "its source is not there"), (a_lambda, "it is a lambda")]
)
def test_a_workflow_without_source_is_one_honest_box(function: Any, reason: str) -> None:
    graph = draw(function)

    assert arrows(graph) == {"start -> unreadable", "unreadable -> end"}
    assert [node.detail for node in graph.nodes if node.kind == "unreadable"] == [reason]


def test_only_functions_are_drawn() -> None:
    with pytest.raises(TypeError, match="needs a function, not int"):
        draw(3)  # type: ignore[arg-type]


class Workflow:
    """As a decorator leaves it: a wrapper with a name of its own."""

    outlast_workflow_name = "shop.twice"
    __wrapped__ = staticmethod(twice)

    def __call__(self) -> None: ...


def test_a_decorated_workflow_is_drawn_under_its_name() -> None:
    graph: Graph = draw(Workflow())

    assert graph.name == "shop.twice"
    assert labels(graph, "start") == ["shop.twice"]
    assert labels(graph, "step") == ["charge", "ship"]


class Proxy:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no request")


proxy = Proxy()


async def proxied(order: Any) -> None:
    proxy(order)  # type: ignore[operator]
    await ship(order)


def test_a_proxy_that_raises_is_left_alone() -> None:
    assert arrows(draw(proxied)) == {"start -> ship", "ship -> end"}


def indented() -> Callable[[Any], Awaitable[None]]:
    class Inner:
        async def flow(self, order: Any) -> None:
            text = """
not indented
"""
            await ship(order, text)

    return Inner().flow


def test_an_indented_method_is_read() -> None:
    graph = draw(indented().__func__)  # type: ignore[attr-defined]

    assert labels(graph, "step") == ["ship"]
    assert graph.nodes[1].line == indented.__code__.co_firstlineno + 6
