"""Programs that do what a script says: a test writes the script, and the model foretells what comes of it."""

from typing import Any

from outlast import (
    Await,
    Cancel,
    Done,
    Machine,
    Next,
    Object,
    Retry,
    Spawn,
    Stop,
    alarm,
    backoff,
    call_child,
    current_step,
    handler,
    job,
    sleep,
    step,
    wait_for_approval,
    wait_for_signal,
    workflow,
)
from outlast.errors import ChildFailed
from outlast.workflows import TIMEOUT


@job(name="model.job", max_attempts=3, backoff=backoff.constant(60))
async def errand(ctx: Any, plan: list[str]) -> Any:
    """Attempt by attempt what the plan says; its last word holds for all further ones."""
    match plan[min(ctx.attempt, len(plan) - 1)]:
        case "boom":
            raise ValueError("boom")
        case "again":
            return Retry(0)
        case "later":
            return Retry(120)
        case "cancel":
            return Cancel("enough")
    return ctx.attempt


def described(program: str, plan: list[Any]) -> Any:
    """A start of one of these programs."""
    return {"job": errand.new, "robot": Robot, "flow": flow.new}[program](plan=plan)


class Robot(Machine, name="model.robot"):
    """Goes through its plan, one outcome to a step. `heard` is what it was told on the way."""

    plan: list[Any]
    at: int = 0
    heard: list[Any] = []

    @step
    async def start(self, ctx: Any) -> Any:
        return self._go_on(ctx)

    @step
    async def woken(self, ctx: Any) -> Any:
        self.heard.append([signal.payload for signal in ctx.awaited] or "late")
        return self._go_on(ctx)

    @step
    async def gathered(self, ctx: Any) -> Any:
        name, count = self.plan[self.at][1:]
        if len(ctx.awaited) < count:
            return Await(name, then=self.gathered)
        self.heard.append([signal.payload for signal in ctx.awaited])
        self.at += 1
        return self._go_on(ctx)

    @step
    async def joined(self, ctx: Any) -> Any:
        self.heard.append([child.status if child.ended else "live" for child in await ctx.children.all()])
        return self._go_on(ctx)

    def _go_on(self, ctx: Any) -> Any:
        while self.at < len(self.plan):
            match self.plan[self.at]:
                case ["flaky"] if ctx.attempt == 0:
                    raise ValueError("flaky")
                case ["boom"]:
                    raise ValueError("boom")
                case ["again", delay] if ctx.attempt == 0:
                    return Retry(delay)
                case ["stash", name]:
                    ctx.consume(*[signal for signal in ctx.signals if signal.name == name])
                case ["next"]:
                    self.at += 1
                    return Next(self.start)
                case ["gate", key]:
                    self.at += 1
                    return Next(self.start, concurrency_key=key)
                case ["await", names, timeout]:
                    self.at += 1
                    return Await(names, then=self.woken, timeout=timeout)
                case ["gather", name, _]:
                    return Await(name, then=self.gathered)
                case ["spawn", children, need, timeout]:
                    self.at += 1
                    return Spawn([described(*child) for child in children], self.joined, need, timeout)
                case ["stop"]:
                    return Stop("as planned")
                case ["cancel"]:
                    return Cancel("as planned")
            self.at += 1
        return Done(self.heard)

    async def on_error(self, error: Exception, ctx: Any) -> Any:
        return Retry(60) if ctx.attempt < 1 else Stop("gave up")


async def refund(what: str) -> None:
    """Undoes `charge`."""


@step(name="model.charge", compensate=refund)
async def charge(what: str) -> str:
    """A step that can be undone."""
    return what


@step(name="model.act", max_attempts=2, backoff=backoff.constant(60))
async def act(kind: str) -> str:
    """Well, badly, or well in the second attempt."""
    doing = current_step()
    if kind == "bad" or (kind == "flaky" and doing is not None and doing.attempt == 0):
        raise ValueError(kind)
    return kind


@workflow(name="model.flow")
async def flow(plan: list[Any]) -> list[Any]:
    """Goes through its plan, and gives back what it was told on the way."""
    heard: list[Any] = []
    for move in plan:
        match move:
            case ["act", kind]:
                heard.append(await act(kind))
            case ["charge"]:
                heard.append(await charge("paid"))
            case ["sleep", seconds]:
                await sleep(seconds)
            case ["wait", name, timeout]:
                told = await wait_for_signal(name, timeout=timeout)
                heard.append("late" if told is TIMEOUT else told)
            case ["ask", name, timeout]:
                told = await wait_for_approval(name, timeout=timeout)
                heard.append("late" if told is TIMEOUT else told)
            case ["child", program, script]:
                try:
                    heard.append(["done", await call_child(described(program, script))])
                except ChildFailed as error:
                    heard.append([error.status, None])
    return heard


class Counter(Object, name="model.Counter"):
    """Counts what it was told."""

    count: int = 0

    @handler
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    @handler
    async def fail(self, amount: int) -> int:
        self.count += amount
        raise ValueError("not so")

    @handler
    async def remind(self, name: str, seconds: float) -> None:
        self.schedule_alarm(name, seconds)

    @alarm
    async def first(self) -> None:
        self.count += 100

    @alarm
    async def second(self) -> None:
        self.count += 1_000


ALL = [errand, Robot, flow, Counter]
