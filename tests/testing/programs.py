"""What the tests of the test kit run."""

from typing import Any

from outlast import Await, Cancel, Done, Machine, Next, Retry, Spawn, Stop, backoff, hours, job, step

SEEN: list[Any] = []
"""What steps did to the outside."""


@job(name="kit.greet")
async def greet(name: str) -> str:
    SEEN.append(name)
    return f"hello {name}"


@job(name="kit.flaky", max_attempts=4, backoff=backoff.exponential(base=60))
def flaky(good_at: int) -> int:
    SEEN.append("try")
    if len(SEEN) < good_at:
        raise ValueError(f"not yet: {len(SEEN)}")
    return len(SEEN)


@job(name="kit.gone")
async def gone() -> Any:
    return Cancel("nobody there")


class Order(Machine, name="kit.order"):
    number: int
    paid: Any = None

    @step
    async def start(self, ctx: Any) -> Any:
        return Next(self.wait)

    @step
    async def wait(self, ctx: Any) -> Any:
        return Await("paid", then=self.ship, timeout=hours(24))

    @step
    async def ship(self, ctx: Any) -> Any:
        SEEN.append(f"ship {self.number}")
        if not ctx.awaited:
            return Stop("payment never came")
        self.paid = ctx.awaited[0].payload
        return Done({"order": self.number, "paid": self.paid})


class Family(Machine, name="kit.family"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Spawn([greet.new(name="ann"), greet.new(name="bob")], then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done(await ctx.children.results())


class Endless(Machine, name="kit.endless"):
    @step
    async def start(self, ctx: Any) -> Any:
        return Retry(3600)


ALL = [greet, flaky, gone, Order, Family, Endless]
