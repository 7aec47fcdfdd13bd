"""A workflow: plain code that calls steps, waits for a payment, and survives its process.

The first process runs until the order waits, and ends. The second one runs the code again from its first line; what is
recorded is not done again. The wait has a deadline and a default.

Prints:

    code begins
      reserved 3 books
    the first process has ended
    code begins
    order 42: paid 90, 3 shipped
    code begins
      reserved 1 books
    order 43: not paid, 1 given back
"""

import asyncio
import sys
import tempfile
from dataclasses import dataclass

from outlast import Engine, seconds, step, wait_for_signal, workflow

parked = asyncio.Event()


@dataclass
class Order:
    number: int
    books: int


@step
async def reserve(order: Order) -> int:
    print(f"  reserved {order.books} books")
    parked.set()
    return order.books


@step
async def ship(books: int) -> str:
    return f"{books} shipped"


@step
async def give_back(books: int) -> str:
    return f"{books} given back"


@workflow
async def buy(order: Order, patience_s: float) -> str:
    print("code begins")  # only to show it: the code runs again whenever it resumes
    books = await reserve(order)
    cents = await wait_for_signal("payment", timeout=seconds(patience_s))
    if not cents:
        return f"not paid, {await give_back(books)}"
    return f"paid {cents}, {await ship(books)}"


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        first = await engine.start(buy.new(Order(42, books=3), patience_s=3600), correlation_key="order:42")
        await parked.wait()
    print("the first process has ended")

    async with Engine(url, queues={"default": 10}) as engine:
        await engine.signal("order:42", "payment", 90, dedup_key="evt-7")
        print("order 42:", await engine.handle(first.id).result(timeout=10))

        forgotten = await engine.start(buy.new(Order(43, books=1), patience_s=0))
        print("order 43:", await forgotten.result(timeout=10))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
