"""`try`: errors lead to what handles them, and everything goes through `finally`."""

from typing import Any

from outlast.graphs import draw
from tests.graphs.shop import Rejected, arrows, charge, check_credit, labels, notify, reserve, ship


async def caught(order: Any) -> None:
    try:
        await charge(order)
        await reserve(order)
    except Rejected as error:
        await notify(order, error)
        raise
    else:
        await check_credit(order)
    await ship(order)


def test_errors_lead_to_their_handler() -> None:
    graph = draw(caught)

    assert arrows(graph) == {
        "start -> charge",
        "charge -[compensation]-> compensation:refund",
        "charge -> reserve",
        "charge -[error]-> except",
        "reserve -[error]-> except",
        "except -> notify",
        "notify -[error raise again]-> failed",
        "reserve -> check_credit",
        "check_credit -> ship",
        "ship -> end",
    }
    assert labels(graph, "except") == ["on Rejected"]


async def caught_twice(order: Any) -> None:
    try:
        if order.total > 3:
            raise Rejected
        await charge(order)
    except (ValueError, KeyError):
        pass
    except Exception:
        await notify(order)
    await ship(order)


def test_several_handlers_are_arms() -> None:
    assert {
        "decision -[error yes: raise Rejected]-> except",
        "charge -[error]-> except",
        "except -[branch (ValueError, KeyError)]-> ship",
        "except -[branch Exception]-> notify",
        "notify -> ship",
    } <= arrows(draw(caught_twice))


async def parsed(order: Any) -> None:
    await reserve(order)
    try:
        total = int(order.total)
    except ValueError:
        raise Rejected from None
    await charge(order, total)


def test_straight_line_code_that_may_fail_is_handled_too() -> None:
    assert {
        "reserve -> charge",
        "reserve -[error]-> except",
        "except -[error raise Rejected]-> failed",
    } <= arrows(draw(parsed))


async def cleaned(order: Any) -> None:
    for item in order.items:
        try:
            if item.gone:
                return
            if item.bad:
                break
            await ship(item)
        finally:
            await notify(item)
    await charge(order)


def test_all_that_leaves_goes_through_finally() -> None:
    graph = draw(cleaned)

    assert {
        "decision -[branch yes]-> notify",
        "decision#2 -[branch yes]-> notify",
        "ship -> notify",
        "notify -[return]-> end",
        "notify -[break]-> charge",
        "notify -[error error]-> failed",
        "notify -[loop]-> loop",
    } <= arrows(graph)
    # Good and bad ends of a step lead to the same place: one arrow is enough.
    assert "ship -[error]-> notify" not in arrows(graph)


async def tidy(order: Any) -> None:
    try:
        if order.gone:
            return
        await ship(order)
    finally:
        order.close()
    await charge(order)


def test_a_finally_that_draws_nothing_is_passed_over() -> None:
    assert {"decision -[branch yes: return]-> end", "ship -> charge"} <= arrows(draw(tidy))


async def grouped(order: Any) -> None:
    try:
        await ship(order)
    except* ValueError:
        await notify(order)


def test_exception_groups_are_handled_alike() -> None:
    assert {"ship -[error]-> except", "except -> notify", "notify -> end"} <= arrows(draw(grouped))


async def inner(order: Any) -> None:
    try:
        try:
            await ship(order)
        except ValueError:
            await notify(order)
    except KeyError:
        await charge(order)


def test_the_innermost_handler_comes_first() -> None:
    found = arrows(draw(inner))

    assert {"ship -[error]-> except", "except -> notify", "notify -[error]-> except#2", "except#2 -> charge"} <= found
    assert "ship -[error]-> except#2" not in found
