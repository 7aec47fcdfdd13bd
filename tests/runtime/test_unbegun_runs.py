"""A run may be stopped before its task has had its first turn. Its slot must come free all the same."""

from typing import Any

import pytest

from outlast import Engine, job
from outlast._runtime.run import Why


@pytest.mark.parametrize("why", Why)
async def test_a_run_stopped_before_its_first_turn_frees_its_slot(sqlite_url: str, why: Why) -> None:
    stopped: list[int] = []

    @job
    async def note(n: int) -> int:
        return n

    def stop_the_first(name: str, fields: dict[str, Any]) -> None:
        # This is heard while the tasks of what was claimed wait for their first turn.
        if name == "claim.stop" and not stopped:
            assert engine._crew is not None
            stopped.append(len(engine._crew.executor.stop(why)))

    engine = Engine(sqlite_url, programs=[note], queues={"default": 1}, lease=1.0)
    engine.events.listen(stop_the_first)

    async with engine:
        handles = await engine.start_many(note.new(n=n) for n in range(3))
        results = [await handle.result(timeout=10) for handle in handles]
        rows = [await handle.get() for handle in handles]

    assert stopped == [1]
    assert results == [0, 1, 2]
    assert [(row.attempt, row.crashes) for row in rows] == [(0, 0)] * 3
