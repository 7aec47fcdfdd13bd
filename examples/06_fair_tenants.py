"""Fair shares: a tenant with three jobs does not wait for one with three hundred.

Rows with a `fair_key` take turns by key, whoever came first. A tenant that is alone gets everything. `fair_weight=3`
gets three turns for one.

Prints:

    without keys, small was done after 300 jobs of big
    with fair keys, small was done after at most 5: True
    everything was done: 606
"""

import asyncio
import sys
import tempfile

from outlast import Engine, Handle, job

ran: list[str] = []


@job
async def work(tenant: str) -> None:
    ran.append(tenant)


async def both(engine: Engine, *, fair: bool) -> int:
    """How many jobs of big ran before the last one of small."""
    ran.clear()
    handles: list[Handle[None]] = []
    await engine.pause_queue("default")  # so that all of them are there when it begins
    for tenant, count in (("big", 300), ("small", 3)):
        described = (work.new(tenant=tenant) for _ in range(count))
        handles += await engine.start_many(described, fair_key=tenant if fair else None)
    await engine.resume_queue("default")
    for handle in handles:
        await handle.result(timeout=10)
    last = max(place for place, tenant in enumerate(ran) if tenant == "small")
    return ran[:last].count("big")


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 2}) as engine:
        before = await both(engine, fair=False)
        print(f"without keys, small was done after {before} jobs of big")
        total = len(ran)

        before = await both(engine, fair=True)
        print("with fair keys, small was done after at most 5:", before <= 5)
        print("everything was done:", total + len(ran))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
