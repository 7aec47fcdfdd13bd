"""Retries: what happens when a job fails, and how long it waits before the next attempt.

An exception is a failed attempt. `Retry(delay)` asks for another one without an exception, `Cancel(reason)` for none.
After `max_attempts` executions the job is `failed`; `retry` gives it all its attempts again.

Prints:

    exception: fetched at attempt 2
    Retry: ready at attempt 1
    Cancel: no such page
    given up: ConnectionError: no route (attempts: 3)
    run again: no route
    the default backoff: 1, 2, 4, 8, 16, 32, 64, 128, 256, 300 s
"""

import asyncio
import logging
import random
import sys
import tempfile

from outlast import Cancel, Context, Engine, InstanceCancelled, InstanceFailed, Retry, backoff, job

# A failure that ends a job is logged as a warning; here it is shown in another way.
logging.getLogger("outlast").setLevel(logging.ERROR)


@job(max_attempts=3, backoff=backoff.exponential(base=0.005, cap=60, jitter=0.25))
async def fetch(ctx: Context, failures: int) -> str:
    if ctx.attempt < failures:
        raise ConnectionError("no route")
    return f"fetched at attempt {ctx.attempt}"


@job(max_attempts=3)
async def poll(ctx: Context, page: str) -> str | Retry | Cancel:
    if page == "missing":
        return Cancel("no such page")
    if ctx.attempt == 0:
        return Retry(0.005, reason="not ready yet")
    return f"ready at attempt {ctx.attempt}"


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        print("exception:", await (await engine.start(fetch.new(failures=2))).result(timeout=10))
        print("Retry:", await (await engine.start(poll.new(page="report"))).result(timeout=10))
        try:
            await (await engine.start(poll.new(page="missing"))).result(timeout=10)
        except InstanceCancelled as error:
            print("Cancel:", error.reason)

        hopeless = await engine.start(fetch.new(failures=100))
        try:
            await hopeless.result(timeout=10)
        except InstanceFailed as error:
            row = await hopeless.get()
            print(f"given up: {error.error and error.error['type']}: {error.reason} (attempts: {row.attempt})")

        await hopeless.retry()
        try:
            await hopeless.result(timeout=10)
        except InstanceFailed as error:
            print("run again:", error.reason)

    waits = (backoff.exponential()(failures, random.Random()) for failures in range(1, 11))
    print("the default backoff:", ", ".join(f"{wait_s:g}" for wait_s in waits), "s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
