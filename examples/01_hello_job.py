"""A job: a function whose call is stored, run, and stored with its result.

`greet.new(...)` describes a call and checks its arguments; `engine.start` stores it; `handle.result` waits for the end.
`greet(...)` is still the plain function. Jobs may be `async def`, or `def`, which runs on a thread.

Prints:

    hello, Ann
    42
    HELLO, BOB
    done {'name': 'Ann'} -> 'hello, Ann'
"""

import asyncio
import sys
import tempfile

from outlast import Engine, job


@job
async def greet(name: str, loud: bool = False) -> str:
    text = f"hello, {name}"
    return text.upper() if loud else text


@job
def double(number: int) -> int:
    return 2 * number


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 10}) as engine:
        greeting = await engine.start(greet.new(name="Ann"))
        number = await engine.start(double.new(number=21))

        print(await greeting.result(timeout=10))
        print(await number.result(timeout=10))
        print(await greet("Bob", loud=True))  # at once, here, and nothing is stored

        row = await greeting.get()
        print(row.status, row.state, "->", repr(row.result))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
