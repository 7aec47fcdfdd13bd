"""Steps that are stopped at once when their workflow is cancelled, wherever it was cancelled."""

import asyncio
from typing import Any

import pytest

from outlast import Engine, parallel, step, workflow
from outlast.errors import DefinitionError
from tests.engine.given import Engines, soon
from tests.workflows.programs import SEEN, charge

LONG = {"lease": 3600.0}
"""Nothing that is found by renewing or reconciling comes in time: only what is told does."""


class Stuck:
    """A step that ends only when it is stopped."""

    def __init__(self, **options: Any) -> None:
        self.begun, self.stopped = asyncio.Event(), asyncio.Event()

        @step(cancellable=True, **options)
        async def stuck() -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                SEEN.append("stopped")
                self.stopped.set()
                raise

        self.step: Any = stuck


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("branches", [1, 3])
async def test_it_is_stopped_at_once_and_nothing_of_it_is_recorded(engines: Engines, where: str, branches: int) -> None:
    steps = [Stuck(name=f"stuck{number}") for number in range(branches)]

    @workflow
    async def waiting() -> None:
        await charge(1, 100)
        await parallel(*(each.step() for each in steps))

    worker = await engines.open(programs=[waiting], **LONG)
    other: Engine = worker if where == "here" else await engines.open(queues={})
    handle = await worker.start(waiting.new())
    for each in steps:
        await soon(each.begun.wait())

    cancelled = await other.cancel(handle.id, "enough")
    for each in steps:
        await soon(each.stopped.wait())

    assert cancelled.status == (await worker.get(handle.id)).status == "cancelled"
    assert [found.key for found in await worker.steps(handle)] == ["charge#1"]
    assert SEEN == ["charge 1", *["stopped"] * branches]  # as ever, a cancel undoes nothing.


async def test_its_timeout_is_enforced_as_ever(engines: Engines) -> None:
    stuck = Stuck(timeout=0.05, max_attempts=2, backoff=lambda _: 0)

    @workflow
    async def waiting() -> None:
        await stuck.step()

    worker = await engines.open(programs=[waiting])
    handle = await worker.start(waiting.new())
    ended = await worker.ended(handle.id, 8)

    assert ended.status == "failed"
    assert "StepTimeout" in (ended.error or "")
    assert SEEN == ["stopped", "stopped"]


async def test_a_compensation_can_be_cancelled_too(engines: Engines) -> None:
    undo = Stuck()

    @step(compensate=undo.step)
    async def do() -> None:
        """Can be undone."""

    @workflow
    async def failing() -> None:
        await do()
        raise RuntimeError

    worker = await engines.open(programs=[failing], **LONG)
    handle = await worker.start(failing.new())
    await soon(undo.begun.wait())

    await handle.cancel()
    await soon(undo.stopped.wait())

    assert (await handle.get()).status == "cancelled"


def test_a_def_cannot_be_stopped_and_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"step 'plain' is a def, .* cancellable=True needs an async def"):

        @step(cancellable=True)
        def plain() -> None:
            """Runs on a thread."""


@pytest.mark.parametrize("value", [False, 1, "yes"])
def test_it_is_demanded_or_left_out(value: Any) -> None:
    with pytest.raises(DefinitionError, match="cancellable must be True or left out"):
        step(cancellable=value)
