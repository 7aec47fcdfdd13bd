"""Branches: steps at the same time, branches that wait, a thousand items, and one attempt more.

Prints:

    weather and traffic: ['sunny', 'quiet']
    two branches, each of two steps: ['soup: cooked, served', 'cake: baked, served']
    1000 letters, at most 5 at once
    2 of 3 sent, lost: ["step 'deliver' failed: ConnectionError: bob is away"]
"""

import asyncio
import sys
import tempfile

from outlast import Engine, backoff, each, parallel, step, workflow

open_now = 0
open_most = 0


@step
async def weather() -> str:
    return "sunny"


@step
async def traffic() -> str:
    return "quiet"


@step
async def prepare(dish: str, how: str) -> str:
    return f"{dish}: {how}"


@step
async def serve(dish: str) -> str:
    return f"{dish}, served"


@step
async def write(number: int) -> int:
    global open_now, open_most
    open_now += 1
    open_most = max(open_most, open_now)
    await asyncio.sleep(0)
    open_now -= 1
    return number


@step(max_attempts=2, backoff=backoff.constant(0.01))
async def deliver(to: str) -> str:
    if to == "bob":
        raise ConnectionError("bob is away")
    return to


@workflow
async def trip() -> list[str]:
    return list(await parallel(weather(), traffic()))


async def course(dish: str, how: str) -> str:
    return await serve(await prepare(dish, how))


@workflow
async def dinner() -> list[str]:
    return list(await asyncio.gather(course("soup", "cooked"), course("cake", "baked")))  # gather is as good


@workflow
async def letters() -> int:
    return len(await each(range(1_000), write, concurrency=5))


@workflow
async def post(people: list[str]) -> tuple[int, list[str]]:
    try:
        return len(await each(people, deliver, on_error="complete_all")), []
    except* ConnectionError as group:
        lost = [str(error) for error in group.exceptions]
    return len(people) - len(lost), lost


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        there = await engine.start(trip.new())
        print("weather and traffic:", await there.result(timeout=10))
        served = await engine.start(dinner.new())
        print("two branches, each of two steps:", await served.result(timeout=10))
        written = await engine.start(letters.new())
        print(await written.result(timeout=30), "letters, at most", open_most, "at once")
        posted = await engine.start(post.new(["ann", "bob", "eve"]))
        sent, lost = await posted.result(timeout=10)
        print(f"{sent} of 3 sent, lost: {lost}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
