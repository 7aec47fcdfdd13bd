"""Texts that a database keeps and that our codec never wrote: told, put aside, and in nobody else's way."""

from typing import Any

import pytest

from outlast import (
    Await,
    Done,
    Engine,
    InstanceFailed,
    Machine,
    Object,
    handler,
    job,
    step,
    wait_for_input,
    wait_for_signal,
    workflow,
)
from outlast.errors import EncodingError, InstanceQuarantined
from tests.engine.given import SOON_S, Ear, Engines, Table, soon

UNREADABLE = {
    "too deep": '{"number":' + "[" * 50_000 + "]" * 50_000 + "}",
    "too many digits": '{"number":' + "9" * 5_000 + "}",
    "not finite": '{"number":1e400}',
    "no JSON": '{"number":',
    "nothing": "",
    "another shape": '["number",1]',
}


class Waits(Machine, name="test_edited_rows.waits"):
    number: int = 0

    @step
    async def start(self, ctx: Any) -> Any:
        return Await("go", then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        return Done([signal.payload for signal in ctx.awaited])


@job(name="test_edited_rows.count")
async def count(number: float) -> float:
    return number


@step(name="test_edited_rows.one")
async def one() -> int:
    return 1


@workflow(name="test_edited_rows.flow")
async def flow() -> list[Any]:
    return [await one(), await wait_for_signal("go")]


@workflow(name="test_edited_rows.asks")
async def asks() -> Any:
    return await wait_for_input("age")


class Box(Object, name="test_edited_rows.Box"):
    number: int = 0

    @handler
    async def add(self) -> int:
        self.number += 1
        return self.number


@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_state_is_put_aside_and_others_run(engine: Engine, table: Table, what: str) -> None:
    ear = Ear(engine)
    await engine.pause_queue("default")
    edited = [await engine.start(each) for each in (Waits(number=1), count.new(number=1))]
    sound = [await engine.start(count.new(number=number)) for number in (2, 3)]
    for handle in edited:
        table.poke(handle.id, state=UNREADABLE[what])
    await engine.resume_queue("default")

    for handle in edited:
        with pytest.raises(InstanceQuarantined):
            await handle.result(SOON_S)
    assert [await handle.result(SOON_S) for handle in sound] == [2, 3]
    assert [table.seen(handle.id, "epoch") for handle in edited] == [1, 1]
    assert [table.seen(handle.id, "state") for handle in edited] == [UNREADABLE[what]] * 2
    assert ear.all("loop.failed") == []
    assert (await edited[0].cancel()).status == "cancelled"


UNREADABLE_AS_ANYTHING = {what: text for what, text in UNREADABLE.items() if what != "another shape"}


@pytest.mark.parametrize("what", UNREADABLE_AS_ANYTHING)
async def test_a_payload_ends_its_step_and_is_shown_as_it_is(engine: Engine, table: Table, what: str) -> None:
    text = UNREADABLE_AS_ANYTHING[what]
    ear = Ear(engine)
    handle = await engine.start(Waits())
    await ear.hears("commit.stop")
    await engine.pause_queue("default")
    await handle.signal("go", 1)
    table.query("UPDATE {signals} SET payload = ?", text)
    await engine.resume_queue("default")

    with pytest.raises(InstanceFailed, match="not readable JSON"):
        await handle.result(SOON_S)
    assert [signal.payload for signal in await engine.signals(handle)] == [text]
    assert await (await engine.start(count.new(number=2))).result(SOON_S) == 2


@pytest.mark.parametrize("what", sorted(UNREADABLE_AS_ANYTHING.keys() - {"nothing"}))
async def test_a_journal_ends_its_workflow_and_is_shown_as_it_is(engines: Engines, table: Table, what: str) -> None:
    text = UNREADABLE_AS_ANYTHING[what]
    engine = await engines.open(residents_max=0)
    ear = Ear(engine)
    handle = await engine.start(flow.new())
    await ear.hears("step.stop", kind="await")
    await soon(engine._crew.committer.settled())  # type: ignore[union-attr]
    table.query("UPDATE {journal} SET value = ? WHERE status = 'done'", text)
    await handle.signal("go", 1)

    with pytest.raises(InstanceFailed, match="not readable JSON"):
        await handle.result(SOON_S)
    assert text in [step.value for step in await engine.steps(handle)]
    assert ear.all("loop.failed") == []


async def test_a_question_that_cannot_be_read_hides_no_other(engine: Engine, table: Table) -> None:
    ear = Ear(engine)
    handles = [await engine.start(asks.new()) for _ in range(2)]
    await ear.hears("input.asked", count=2)
    await soon(engine._crew.committer.settled())  # type: ignore[union-attr]
    table.query("UPDATE {journal} SET value = '{' WHERE instance = ? AND kind = 'input'", handles[0].id)

    pending = {each.instance: each.name for each in await engine.pending_inputs()}

    assert pending == {handles[0].id: "", handles[1].id: "age"}
    await engine.provide_input(handles[1], "age", "7")
    assert await handles[1].result(SOON_S) == "7"


@pytest.mark.parametrize("what", UNREADABLE)
async def test_an_object_does_not_load_and_is_shown_as_it_is(engine: Engine, table: Table, what: str) -> None:
    box = engine.object(Box, "a")
    assert await box.add() == 1
    await engine.stop_object(box)
    table.query("UPDATE {objects} SET state = ?", UNREADABLE[what])

    with pytest.raises(EncodingError, match=r"the state of object 'test_edited_rows\.Box'"):
        await soon(box.add())

    shown = await engine.get_object(Box, "a")
    assert shown.state == (["number", 1] if what == "another shape" else UNREADABLE[what])
    assert [each.id for each in await engine.list_objects(Box)] == ["a"]
    assert await engine.object(Box, "b").add() == 1
