"""Limits: one job at a time for each customer, and no more than so many a second for all.

A concurrency key holds in the whole cluster, and through crashes. A rate limit is a bucket of tokens, declared by the
engines and counted in the database. What is held back is `blocked`: it takes no slot, and others pass it.

Prints:

    customers: 3, jobs: 15
    most at once for one customer: 1
    calls: 25, not faster than 20 at once and 100 a second: True
"""

import asyncio
import collections
import sys
import tempfile
import time

from outlast import Engine, job

running: collections.Counter[str] = collections.Counter()
most: collections.Counter[str] = collections.Counter()


@job
async def sync_account(customer: str) -> None:
    running[customer] += 1
    most[customer] = max(most[customer], running[customer])
    await asyncio.sleep(0.002)
    running[customer] -= 1


@job
async def call_api(number: int) -> int:
    return number


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 20}, rate_limits={"api": "100/s burst 20"}) as engine:
        accounts = [
            await engine.start(sync_account.new(customer=customer), concurrency_key=("account", customer))
            for customer in ("ann", "bob", "eve")
            for _ in range(5)
        ]
        for handle in accounts:
            await handle.result(timeout=10)
        print(f"customers: {len(most)}, jobs: {len(accounts)}")
        print("most at once for one customer:", max(most.values()))

        began = time.monotonic()
        calls = await engine.start_many((call_api.new(number=number) for number in range(25)), rate_limit="api")
        for call in calls:
            await call.result(timeout=10)
        # Twenty tokens were there; the other five came at a hundred a second.
        paced = time.monotonic() - began >= 0.045
        print(f"calls: {len(calls)}, not faster than 20 at once and 100 a second: {paced}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
