"""Helpers in another module than the workflow's."""

from typing import Any

from tests.graphs.shop import ship


async def pack(order: Any) -> None:
    await ship(order)


async def count(order: Any) -> int:
    return len(order.items)
