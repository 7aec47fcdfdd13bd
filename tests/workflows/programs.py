"""What the tests of workflows run."""

import asyncio
import dataclasses
from typing import Any

from outlast import backoff, each, hours, parallel, seconds, sleep, step, wait_for_signal, workflow

SEEN: list[Any] = []
"""What steps did to the outside."""


class Declined(Exception):
    """What a bank says."""


@dataclasses.dataclass
class Receipt:
    order: int
    cents: int


@step
async def reserve(order: int) -> str:
    SEEN.append(f"reserve {order}")
    return f"stock {order}"


async def refund(order: int, result: Receipt) -> None:
    SEEN.append(f"refund {order} {result.cents}")


@step(compensate=refund)
async def charge(order: int, cents: int) -> Receipt:
    SEEN.append(f"charge {order}")
    if cents < 0:
        raise Declined(f"order {order}")
    return Receipt(order, cents)


@step
def ship(order: int) -> int:
    SEEN.append(f"ship {order}")
    return order


@step(max_attempts=3, backoff=backoff.constant(60))
async def flaky(good_at: int) -> int:
    SEEN.append("flaky")
    if SEEN.count("flaky") < good_at:
        raise ValueError(f"not yet: {SEEN.count('flaky')}")
    return SEEN.count("flaky")


@workflow(name="wf.order")
async def order(number: int) -> dict[str, Any]:
    stock = await reserve(number)
    receipt = await charge(number, cents=500)
    await sleep(hours(1))
    shipped = await ship(number)
    return {"stock": stock, "cents": receipt.cents, "shipped": shipped}


@workflow(name="wf.retries")
async def retries(good_at: int) -> int:
    await reserve(1)
    return await flaky(good_at)


@workflow(name="wf.side_by_side")
async def side_by_side(number: int) -> Any:
    one, two = await parallel(reserve(number), charge(number, 100))
    three, four = await asyncio.gather(ship(1), ship(2))  # type: ignore[call-overload]
    async with asyncio.TaskGroup() as group:
        five = group.create_task(branch(7))
        six = group.create_task(branch(8))
    return [one, two.cents, three, four, five.result(), six.result()]


async def branch(number: int) -> str:
    await sleep(seconds(number))
    return await reserve(number)


@workflow(name="wf.many")
async def many(count: int) -> int:
    return sum(await each(range(count), ship, concurrency=3))  # type: ignore[arg-type]


@workflow(name="wf.payment")
async def payment(timeout_s: float) -> Any:
    await reserve(1)
    paid = await wait_for_signal("paid", timeout=timeout_s, default="nothing")
    await ship(1)
    return paid


@workflow(name="wf.saga")
async def saga(bad: int) -> None:
    await reserve(1)
    for number in range(1, 4):
        await charge(number, -1 if number == bad else 100 * number)
    raise RuntimeError("and then")
