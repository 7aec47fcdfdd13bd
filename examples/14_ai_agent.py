"""An AI agent: a loop of model calls and tool calls, each recorded; a person is asked before money moves.

The first process ends while a person is being asked. The second goes on from there: no model call is paid for twice.
The model here is a script, so that this runs anywhere; put yours into `ask_model`.

Prints:

    model called, 1 messages
      orders of ann: 42 (90 euros, broken)
    the first process has ended
    asked: refund(order='42', euros='90')?
    approved
      refunded 90 euros of order 42
    model called, 4 messages
    Your 90 euros are on their way. (70 tokens)
    model called, 1 messages
    stopped: 40 tokens, and 30 were allowed
"""

import asyncio
import sys
import tempfile
from dataclasses import dataclass, field

from outlast import Engine, backoff, days, each, hours, step, wait_for_approval, workflow
from outlast.errors import StepFailed

looked = asyncio.Event()


@dataclass
class ToolCall:
    tool: str
    arguments: dict[str, str]

    def __str__(self) -> str:
        return f"{self.tool}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@dataclass
class Reply:
    text: str
    tokens: int
    calls: list[ToolCall] = field(default_factory=list)


@step(on="models", max_attempts=5, backoff=backoff.exponential(base=0.01), timeout=60)
async def ask_model(messages: list[str]) -> Reply:
    """Put your model here. It runs on the queue "models": two at a time, however many agents there are."""
    print(f"model called, {len(messages)} messages")
    if len(messages) == 1:
        calls = [ToolCall("find_orders", {"who": "ann"}), ToolCall("refund", {"order": "42", "euros": "90"})]
        return Reply("Let me see.", 40, calls)
    return Reply("Your 90 euros are on their way.", 30)


@step(max_attempts=3, backoff=backoff.constant(0.01))
async def find_orders(who: str) -> str:
    looked.set()
    print(f"  orders of {who}: 42 (90 euros, broken)")
    return "42: 90 euros, broken"


@step
async def refund(order: str, euros: str) -> str:
    print(f"  refunded {euros} euros of order {order}")
    return "refunded"


TOOLS = {"find_orders": find_orders, "refund": refund}
DANGEROUS = {"refund"}


async def use(call: ToolCall) -> str:
    """What the model is told of a tool call. It may wait for a person for days, holding nothing."""
    if call.tool in DANGEROUS:
        answer = await wait_for_approval(str(call), prompt=f"{call}?", timeout=hours(8), default="rejected")
        if answer != "approved":
            return "a person did not allow this"
    try:
        return await TOOLS[call.tool](**call.arguments)
    except StepFailed as error:
        return f"failed: {error.error['message']}"  # for the model to read.


@workflow(timeout=days(2))
async def agent(task: str, tokens_max: int) -> str:
    messages, tokens = [task], 0
    while True:
        reply = await ask_model(messages)
        tokens += reply.tokens
        if not reply.calls:
            return f"{reply.text} ({tokens} tokens)"
        if tokens > tokens_max:
            return f"stopped: {tokens} tokens, and {tokens_max} were allowed"
        messages = [*messages, reply.text, *await each(reply.calls, use)]


async def main(url: str) -> None:
    queues = {"default": 10, "models": 2}
    async with Engine(url, queues=queues) as engine:
        run = await engine.start(agent.new("My order is broken.", tokens_max=1_000))
        await looked.wait()  # beside this, a person is asked.
    print("the first process has ended")

    async with Engine(url, queues=queues) as engine:
        (asked,) = await engine.pending_inputs()
        print("asked:", asked.prompt)
        await engine.provide_input(asked.instance, asked.name, "approved")
        print("approved")
        print(await engine.handle(run.id).result(timeout=10))

        poor = await engine.start(agent.new("My order is broken.", tokens_max=30))
        print(await poor.result(timeout=10))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db"))
