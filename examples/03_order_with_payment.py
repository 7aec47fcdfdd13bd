"""A machine: an order that waits for a payment, as a signal, and does not wait for ever.

The fields are the state, committed with every step. `Await` holds no slot and no memory, only a row. A signal goes to
the holder of a correlation key; the same dedup key twice counts once; after the end nobody listens any more.

Prints:

    order 1: delivered
    order 1: duplicate
    order 1: {'shipped': True, 'paid': 100}
    order 1: ended
    order 2: {'shipped': False, 'paid': 0}
"""

import asyncio
import sys
import tempfile

from outlast import Await, Done, Engine, Machine, Next, StepContext, step


class Order(Machine):
    number: int
    patience_s: float
    paid: int = 0

    @step
    async def start(self, ctx: StepContext) -> Await:
        return Await("payment", then=self.check, timeout=self.patience_s)

    @step
    async def check(self, ctx: StepContext) -> Next | Done:
        if not ctx.awaited:  # the timeout woke us
            return Done({"shipped": False, "paid": self.paid})
        self.paid = ctx.awaited[0].payload["amount"]
        return Next(self.ship)

    @step
    async def ship(self, ctx: StepContext) -> Done:
        return Done({"shipped": True, "paid": self.paid})


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        await engine.pause_queue("default")  # so that both signals come before the order looks
        paid = await engine.start(Order(number=1, patience_s=3600), correlation_key="order:1")
        for _ in range(2):  # the payment service calls us twice
            print("order 1:", await engine.signal("order:1", "payment", {"amount": 100}, dedup_key="evt-7"))
        await engine.resume_queue("default")
        print("order 1:", await paid.result(timeout=10))
        print("order 1:", await engine.signal(paid, "payment", {"amount": 100}, dedup_key="evt-8"))

        forgotten = await engine.start(Order(number=2, patience_s=0.02), correlation_key="order:2")
        print("order 2:", await forgotten.result(timeout=10))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
