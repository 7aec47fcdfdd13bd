"""What handlers return, leave, order and raise."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from outlast import Engine, Object, alarm, errors, handler
from tests.engine.given import Ear, Engines, Spoilt, soon
from tests.objects.gates import Gate, until

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")
GATE = Gate()


class Board(Object, name="handlers.Board"):
    notes: list[str] = []
    deep: dict[str, list[int]] = {}

    @handler
    async def note(self, text: str) -> int:
        self.notes.append(text)
        return len(self.notes)

    @handler
    async def dig(self, key: str, value: int) -> None:
        self.deep.setdefault(key, []).append(value)

    @handler
    async def twice(self, text: str) -> int:
        await self.note(text)
        return await self.note(text)

    @handler
    async def silent(self) -> None:
        self.notes.append("x")
        self.notes.pop()

    @handler(read_only=True)
    async def count(self) -> int:
        return len(self.notes)

    @handler
    async def colour_of_a_change(self) -> str:
        self.notes.append(COLOUR.get())
        return COLOUR.get()

    @handler
    async def later(self) -> str:
        self.schedule_alarm("ring", 3600)
        return "set"

    @handler
    async def later_and_fail(self, other: str) -> None:
        self.schedule_alarm("ring", 3600)
        self.object(Board, other).note.send("never")
        self.notes.append("never")
        raise ValueError("no")

    @handler
    async def tell(self, id: str, text: str) -> None:
        await self.object(Board, id).note.send(text)

    @handler
    def tell_from_a_thread(self, id: str, text: str) -> str:
        self.object(Board, id).note.send(text)
        return threading.current_thread().name

    @handler
    async def ask(self, id: str, text: str) -> int:
        return await self.object(Board, id).note(text)

    @handler
    async def cancelled(self) -> None:
        self.notes.append("never")
        raise asyncio.CancelledError

    @handler
    async def leaves(self) -> None:
        self.notes.append("never")
        raise SystemExit(3)

    @handler
    async def held(self, text: str) -> int:
        await GATE.hold()
        self.notes.append(text)
        return len(self.notes)

    @handler
    async def unlike_its_hint(self) -> int:
        return "seven"  # type: ignore[return-value]

    @handler
    async def unstorable(self) -> Any:
        self.notes.append("never")
        return object()

    @handler
    async def forget(self) -> None:
        del self.notes

    @alarm
    async def ring(self) -> None:
        self.notes.append("rang")


@pytest.fixture(autouse=True)
def _shut() -> None:
    GATE.shut()


async def test_a_handler_may_return_nothing(engine: Engine) -> None:
    assert await engine.object(Board, "1").dig("a", 1) is None


async def test_changes_deep_in_a_field_are_stored(engine: Engine) -> None:
    board = engine.object(Board, "1")
    await board.dig("a", 1)
    await board.dig("a", 2)

    await engine.stop_object(board)
    assert (await engine.get_state(board))["deep"] == {"a": [1, 2]}


async def test_a_handler_calls_another_of_its_own_like_any_method(engine: Engine) -> None:
    assert await engine.object(Board, "1").twice("x") == 2


async def test_what_changes_nothing_writes_nothing(engine: Engine) -> None:
    board = engine.object(Board, "1")
    await board.note("a")
    before = await engine.get_object(Board, "1")

    await board.silent()
    await board.count()

    assert await engine.get_object(Board, "1") == before
    await board.note("b")
    assert (await engine.get_object(Board, "1")).commits == before.commits + 1


async def test_an_alarm_is_set_though_the_state_is_as_it_was(engine: Engine) -> None:
    board = engine.object(Board, "1")

    assert await board.later() == "set"

    assert [each.name for each in await engine.list_alarms(board)] == ["ring"]


async def test_a_handler_that_raises_leaves_no_state_no_alarm_and_no_call(engine: Engine) -> None:
    board = engine.object(Board, "1")

    with pytest.raises(ValueError, match="no"):
        await board.later_and_fail("2")

    assert await board.note("first") == 1
    assert await engine.list_alarms(board) == []
    assert [each.id for each in await engine.list_objects(Board)] == ["1"]


async def test_one_way_calls_go_out_with_the_commit(engine: Engine) -> None:
    await engine.object(Board, "1").tell("2", "hello")
    assert (await engine.object(Board, "1").tell_from_a_thread("3", "hi")).startswith("outlast")

    for id, text in (("2", "hello"), ("3", "hi")):
        await until(lambda id=id: engine.list_objects(Board, after=str(int(id) - 1), limit=1))
        await until(lambda id=id, text=text: _notes(engine, id, text))


async def _notes(engine: Engine, id: str, text: str) -> bool:
    return (await engine.get_state(engine.object(Board, id)))["notes"] == [text]


async def test_a_one_way_call_from_outside_is_served(engine: Engine) -> None:
    board = engine.object(Board, "1")

    assert await board.note.send("a") is None

    await until(lambda: engine.list_objects(Board))
    await until(lambda: _notes(engine, "1", "a"))


async def test_a_handler_calls_other_objects(engine: Engine) -> None:
    assert await engine.object(Board, "1").ask("2", "x") == 1


@pytest.mark.parametrize("name", ["cancelled", "leaves"])
async def test_a_handler_that_wants_to_end_the_process_ends_its_call_alone(engine: Engine, name: str) -> None:
    board = engine.object(Board, "1")

    with pytest.raises(errors.CallError, match=r"raised (CancelledError|SystemExit)") as caught:
        await getattr(board, name)()

    assert caught.value.happened is False
    assert await board.note("a") == 1


async def test_an_answer_that_does_not_fit_its_hint_comes_as_data(engine: Engine) -> None:
    board: Any = engine.object(Board, "1")

    assert await board.unlike_its_hint() == "seven"
    assert await board.unlike_its_hint.with_options(idempotency_key="k")() == "seven"


async def test_an_answer_that_cannot_be_stored_is_an_error_and_leaves_nothing(engine: Engine) -> None:
    board = engine.object(Board, "1")

    with pytest.raises(errors.EncodingError, match="unstorable"):
        await board.unstorable()

    assert await board.note("a") == 1


async def test_a_field_that_was_deleted_is_an_error_and_is_there_again(engine: Engine) -> None:
    board = engine.object(Board, "1")
    await board.note("a")

    with pytest.raises(errors.EncodingError, match="misses its field 'notes'"):
        await board.forget()

    assert await board.note("b") == 2


async def test_a_state_above_the_limit_is_refused_and_leaves_nothing(engines: Engines) -> None:
    engine = await engines.open(payload_bytes_max=1_024)
    board = engine.object(Board, "1")
    await board.note("a" * 600)

    with pytest.raises(errors.ValueTooLarge, match=r"the state of handlers\.Board '1'"):
        await board.note("b" * 600)

    assert await board.note("c") == 2


async def test_a_write_that_the_database_refuses_fails_the_calls_it_holds_and_no_later_one(engine: Engine) -> None:
    board = engine.object(Board, "1")
    await board.note("a")
    Spoilt(engine._store.objects, "save").refuse(error=lambda: errors.StoreError("it does not like this one"))

    with pytest.raises(errors.CallError, match="could not be stored: it does not like this one") as caught:
        await board.note("b")

    assert caught.value.happened is False
    assert await board.note("c") == 2
    assert (await engine.get_state(board))["notes"] == ["a", "c"]


async def test_a_write_whose_reply_was_lost_is_written_once(engine: Engine) -> None:
    board = engine.object(Board, "1")
    await board.note("a")
    Spoilt(engine._store.objects, "save").lose_replies()

    assert await soon(board.note("b")) == 2
    assert (await engine.get_state(board))["notes"] == ["a", "b"]


async def test_a_handler_sees_nothing_of_its_callers_context(engine: Engine) -> None:
    COLOUR.set("red")

    assert await engine.object(Board, "1").colour_of_a_change() == "none"


async def test_handlers_do_not_overlap_whatever_they_wait_for(engine: Engine) -> None:
    board = engine.object(Board, "1")
    first = asyncio.ensure_future(board.held("first"))
    await GATE.reached()
    second = asyncio.ensure_future(board.note("second"))
    await asyncio.sleep(0)
    GATE.open()

    assert await soon(asyncio.gather(first, second)) == [1, 2]


async def test_failures_are_told_to_who_listens(engine: Engine) -> None:
    ear = Ear(engine)

    with pytest.raises(ValueError, match="no"):
        await engine.object(Board, "1").later_and_fail("2")

    said = await ear.hears("object.call_failed")
    assert {**said, "engine": ""} == {
        "engine": "",
        "type": "handlers.Board",
        "id": "1",
        "handler": "later_and_fail",
        "error": "ValueError: no",
    }


async def test_events_tell_of_an_object_s_life(engine: Engine) -> None:
    ear = Ear(engine)
    board = engine.object(Board, "1")
    await board.note("a")
    await engine.stop_object(board)
    await engine.delete_object(board)

    await ear.hears("object.deleted")
    mine: list[Any] = [name for name, fields in ear.heard if fields.get("type") == "handlers.Board"]
    assert mine == ["object.loaded", "object.saved", "object.released", "object.deleted"]
    assert [said["is_new"] for said in ear.all("object.loaded")] == [True]
