"""Machines: named steps with explicit transitions. The fields of the class are the typed, durable state.

class Checkout(Machine, queue="checkout", version=1):
    order: int
    paid: dict | None = None

    @step
    async def start(self, ctx):
        return Await("payment", then=self.ship, timeout=hours(24))

    @step
    async def ship(self, ctx):
        if not ctx.awaited:
            return Stop("payment never came")
        self.paid = ctx.awaited[0].payload
        return Done({"order": self.order})

await engine.start(Checkout(order=42), correlation_key="order:42")
await engine.signal("order:42", "payment", {"amount": 100})
"""

from outlast.machines.context import Children, ChildResult, ReceivedSignal, StepContext
from outlast.machines.definition import upgrade
from outlast.machines.machine import Machine
from outlast.machines.program import MachineProgram

__all__ = [
    "ChildResult",
    "Children",
    "Machine",
    "MachineProgram",
    "ReceivedSignal",
    "StepContext",
    "upgrade",
]
