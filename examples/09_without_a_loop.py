"""No event loop: the same engine for scripts, Flask and Django.

`outlast.sync.Engine` has every operation of `outlast.Engine` under its name, and is safe to share between threads. The
loop lives in a thread of its own. With `queues={}` it would only submit, for workers elsewhere to run.

Prints:

    sum: 6
    squares: [0, 1, 4, 9, 16]
    from threads: ['2 words', '3 words']
    cancelled: not today
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import outlast.sync
from outlast import InstanceCancelled, hours, job


@job
def add_up(numbers: list[int]) -> int:
    return sum(numbers)


@job
async def square(number: int) -> int:
    return number * number


@job
def count_words(text: str) -> str:
    return f"{len(text.split())} words"


def main(url: str) -> None:
    with outlast.sync.Engine(url, queues={"default": 10}) as engine:
        print("sum:", engine.start(add_up.new(numbers=[1, 2, 3])).result(timeout=10))

        handles = engine.start_many(square.new(number=number) for number in range(5))
        print("squares:", [handle.result(timeout=10) for handle in handles])

        def count(text: str) -> str:
            return engine.start(count_words.new(text=text)).result(timeout=10)

        with ThreadPoolExecutor() as threads:
            print("from threads:", list(threads.map(count, ["two words", "and three words"])))

        later = engine.start(square.new(number=7), schedule_in=hours(1))
        later.cancel("not today")
        try:
            later.result(timeout=10)
        except InstanceCancelled as error:
            print("cancelled:", error.reason)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
