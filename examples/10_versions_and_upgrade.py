"""Versions: new code meets instances that old code has started.

A row keeps the version it was started with, and only a process that knows that version runs it. Either keep the old
code beside the new until its rows are gone, or let the new code upgrade their state: `@upgrade(from_version=1)`.

Prints:

    two jobs side by side: 12.00 and 12.50
    the old release has parked: Bill version 1, {'total': 12, 'paid': None}
    the new release goes on: {'cents': 1200, 'paid': 'cash'}
"""

import asyncio
import sys
import tempfile
from typing import Any

from outlast import Await, Done, Engine, Machine, StepContext, job, step, upgrade

begun = asyncio.Event()


@job(name="price")
async def price_in_units(total: int) -> str:
    return f"{total}.00"


@job(name="price", version=2)
async def price(cents: int) -> str:
    return f"{cents / 100:.2f}"


class OldBill(Machine, name="Bill"):
    total: int
    paid: str | None = None

    @step
    async def start(self, ctx: StepContext) -> Await:
        begun.set()
        return Await("paid", then=self.close)

    @step
    async def close(self, ctx: StepContext) -> Done:
        return Done({"total": self.total, "paid": ctx.awaited[0].payload})


class Bill(Machine, name="Bill", version=2):
    cents: int
    paid: str | None = None

    @upgrade(from_version=1)
    @staticmethod  # only for type checkers
    def in_cents(state: dict[str, Any]) -> dict[str, Any]:
        return {"cents": state["total"] * 100, "paid": state["paid"]}

    @step
    async def start(self, ctx: StepContext) -> Await:
        return Await("paid", then=self.close)

    @step
    async def close(self, ctx: StepContext) -> Done:
        return Done({"cents": self.cents, "paid": ctx.awaited[0].payload})


async def main(url: str) -> None:
    # The old release: it knows version 1 of the machine, and by now both of the job.
    async with Engine(url, queues={"default": 10}, programs=[price_in_units, price, OldBill]) as engine:
        old, new = await engine.start(price_in_units.new(total=12)), await engine.start(price.new(cents=1250))
        print(f"two jobs side by side: {await old.result(timeout=10)} and {await new.result(timeout=10)}")

        bill = await engine.start(OldBill(total=12))
        await begun.wait()  # closing the engine lets the step end

    # The new release has only the new class.
    async with Engine(url, queues={"default": 10}, programs=[Bill]) as engine:
        row = await engine.get(bill.id)
        print(f"the old release has parked: {row.program} version {row.version}, {row.state}")
        await engine.signal(bill.id, "paid", "cash")
        print("the new release goes on:", await engine.handle(bill.id).result(timeout=10))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
