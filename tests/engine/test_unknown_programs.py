"""Rolling deploys: a process leaves alone what it does not know."""

from typing import Any

from outlast import job
from tests.engine.given import SOON_S, Engines, Tally


def _release(version: int, runs: Tally) -> Any:
    @job(name="test_unknown.grow", version=version)
    async def grow() -> int:
        runs.add()
        return version

    return grow


@job(name="test_unknown.known")
async def known() -> str:
    return "known"


async def test_unknown_programs_stay_ready_while_known_ones_run(engines: Engines) -> None:
    new, runs = await engines.open(queues={}), Tally()
    strangers = await new.start_many((_release(2, runs).new() for _ in range(30)), priority=-1)
    friends = await new.start_many(known.new() for _ in range(30))

    await engines.open(programs=[known, _release(1, runs)], queues={"default": 5})

    assert {await handle.result(SOON_S) for handle in friends} == {"known"}
    assert await new.totals() == {"ready": 30, "done": 30}
    assert runs.count == 0
    instance = await strangers[0].get()
    assert (instance.epoch, instance.attempt, instance.crashes) == (0, 0, 0)


async def test_each_version_runs_where_it_is_known(engines: Engines) -> None:
    runs_1, runs_2 = Tally(), Tally()
    submitter = await engines.open(queues={})
    old = await submitter.start_many(_release(1, runs_1).new() for _ in range(5))
    new = await submitter.start_many(_release(2, runs_2).new() for _ in range(5))

    await engines.open(programs=[_release(1, runs_1)])
    assert [await handle.result(SOON_S) for handle in old] == [1] * 5
    assert (runs_1.count, runs_2.count) == (5, 0)

    await engines.open(programs=[_release(1, runs_1), _release(2, runs_2)])
    assert [await handle.result(SOON_S) for handle in new] == [2] * 5
    assert (runs_1.count, runs_2.count) == (5, 5)


async def test_a_program_that_becomes_known_later_is_run_then(engines: Engines) -> None:
    runs = Tally()
    worker = await engines.open()
    submitter = await engines.open(queues={})
    handle = await submitter.start(_release(1, runs).new())

    await worker.start(_release(1, runs).new())  # whoever starts it here knows it here.

    assert await handle.result(SOON_S) == 1
    await runs.reaches(2)
