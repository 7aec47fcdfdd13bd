"""An object: a rate limiter, one for each user, that any process may ask.

Calls of one object run one at a time, so two requests never take the same token. The tokens come back by an alarm,
which is committed together with the state that set it.

Prints:

    ann: ok, ok, ok, no
    bob: ok
    a second request with the same key: ok, still 2 left of bob's
    after the alarm ann has 3 again: ok
"""

import asyncio
import sys
import tempfile
import uuid

from outlast import Engine, Object, alarm, handler


class Limiter(Object):
    tokens: int = 3

    @handler
    async def take(self) -> bool:
        if not self.tokens:
            return False
        self.tokens -= 1
        self.schedule_alarm("refill", 1)
        return True

    @handler(read_only=True)
    async def left(self) -> int:
        return self.tokens

    @alarm
    async def refill(self) -> None:
        self.tokens = 3


def said(taken: bool) -> str:
    return "ok" if taken else "no"


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        ann, bob = engine.object(Limiter, "ann"), engine.object(Limiter, "bob")
        await engine.delete_object(ann)  # on a database of yours, an earlier run's.
        await engine.delete_object(bob)

        print("ann:", ", ".join(said(taken) for taken in await asyncio.gather(*(ann.take() for _ in range(4)))))

        request = bob.take.with_options(idempotency_key=f"request {uuid.uuid4()}")
        print("bob:", said(await request()))
        print(f"a second request with the same key: {said(await request())}, still {await bob.left()} left of bob's")

        for _ in range(500):
            if await ann.left():
                break
            await asyncio.sleep(0.02)
        print(f"after the alarm ann has {await ann.left()} again: {said(await ann.take())}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
