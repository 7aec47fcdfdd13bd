"""Fan-out: ask many, go on when enough have answered, or when the time is up.

`Spawn` starts children and parks the parent, in one transaction. With `need` it wakes when that many have ended, with
`timeout` in any case. The other children run on; whoever does not want them cancels them.

Prints:

    quorum: 3 of 5 have answered 42
    cancelled: 2
    deadline: 1 of 5 has answered 42
    cancelled: 4
"""

import asyncio
import sys
import tempfile

from outlast import Done, Engine, Handle, Machine, Spawn, StepContext, job, step


@job
async def ask(replica: int, answers: bool) -> int:
    if not answers:
        await asyncio.Event().wait()  # this one never will
    return 42


class Read(Machine):
    replicas: int
    alive: int
    deadline_s: float

    @step
    async def start(self, ctx: StepContext) -> Spawn:
        asked = [ask.new(replica=number, answers=number < self.alive) for number in range(self.replicas)]
        return Spawn(asked, then=self.decide, need=self.replicas // 2 + 1, timeout=self.deadline_s)

    @step
    async def decide(self, ctx: StepContext) -> Done:
        return Done([child.result async for child in ctx.children if child.done])


async def cancel_the_rest(engine: Engine, parent: Handle[object]) -> int:
    cancelled = 0
    async for child in engine.all_children(parent):
        if child.finished_at is None:
            await engine.cancel(child.id, "not needed any more")
            cancelled += 1
    return cancelled


async def main(url: str) -> None:
    async with Engine(url, queues={"default": 20}) as engine:
        quorum = await engine.start(Read(replicas=5, alive=3, deadline_s=10))
        answers = await quorum.result(timeout=10)
        print(f"quorum: {len(answers)} of 5 have answered {answers[0]}")
        print("cancelled:", await cancel_the_rest(engine, quorum))

        late = await engine.start(Read(replicas=5, alive=1, deadline_s=0.3))
        answers = await late.result(timeout=10)
        print(f"deadline: {len(answers)} of 5 has answered {answers[0]}")
        print("cancelled:", await cancel_the_rest(engine, late))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
