"""Recurring work: any number of triggers, one run for each hour.

Whoever has a clock (cron, a timer of systemd, every web process) starts the work of the hour, under a correlation key
that holds the hour. The first start wins; the others get its handle. Nobody has to be the leader.

Prints:

    18:00 triggered 10 times, ran 1 time: report of 18:00
    19:00 triggered 10 times, ran 1 time: report of 19:00
    18:00 triggered late: report of 18:00, still 1 time
"""

import asyncio
import sys
import tempfile
from datetime import UTC, datetime

from outlast import Engine, days, job


@job(retention=days(2))  # as long as a trigger may come late: the key is free when the row is deleted
async def report(hour: datetime) -> str:
    return f"report of {hour:%H:%M}"


def key_of(hour: datetime) -> str:
    return f"report:{hour:%Y-%m-%dT%H}"


async def trigger(engine: Engine, now: datetime) -> str:
    hour = now.replace(minute=0, second=0, microsecond=0)
    handle = await engine.start(
        report.new(hour=hour),
        correlation_key=key_of(hour),
        correlation_scope="always",  # the key stays taken when the run has ended
        on_conflict="return",
    )
    return await handle.result(timeout=10)


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        for clock in (18, 19):
            now = datetime(2030, 1, 31, clock, 0, 3, tzinfo=UTC)
            said = await asyncio.gather(*(trigger(engine, now) for _ in range(10)))
            runs = await engine.list(correlation_key=key_of(now))
            print(f"{now:%H}:00 triggered {len(said)} times, ran {len(runs)} time: {said[0]}")

        late = datetime(2030, 1, 31, 18, 59, tzinfo=UTC)
        said_late = await trigger(engine, late)
        runs = await engine.list(correlation_key=key_of(late))
        print(f"18:00 triggered late: {said_late}, still {len(runs)} time")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
