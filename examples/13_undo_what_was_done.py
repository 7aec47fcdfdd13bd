"""Compensation: a trip is booked step by step, and unbooked when its last part cannot be had.

Each step names the function that undoes it. When the workflow fails, they run, the newest first; each is recorded, and
has attempts of its own.

Prints:

    booked flight to Rome
    booked hotel in Rome
    no car in Rome
      hotel H1: cancelling failed, again
      hotel H1 cancelled
      flight F1 cancelled
    compensated: step 'rent_car' failed: LookupError: no car in Rome
"""

import asyncio
import sys
import tempfile

from outlast import Engine, InstanceFailed, backoff, step, workflow

calls = 0


async def cancel_flight(result: str) -> None:
    print(f"  flight {result} cancelled")


@step(max_attempts=5, backoff=backoff.constant(0.01))
async def cancel_hotel(city: str, result: str) -> None:
    global calls
    calls += 1
    if calls == 1:
        print(f"  hotel {result}: cancelling failed, again")
        raise ConnectionError("the hotel does not answer")
    print(f"  hotel {result} cancelled")


@step(compensate=cancel_flight)
async def book_flight(city: str) -> str:
    print(f"booked flight to {city}")
    return "F1"


@step(compensate=cancel_hotel)
async def book_hotel(city: str, nights: int) -> str:
    print(f"booked hotel in {city}")
    return "H1"


@step
async def rent_car(city: str) -> str:
    print(f"no car in {city}")
    raise LookupError(f"no car in {city}")


@workflow
async def book_trip(city: str) -> list[str]:
    return [await book_flight(city), await book_hotel(city, nights=3), await rent_car(city)]


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        trip = await engine.start(book_trip.new("Rome"))
        try:
            await trip.result(timeout=10)
        except InstanceFailed as error:
            print(f"{(await engine.get(trip.id)).status}: {error.reason}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
