"""Workflows run again from a step, with other arguments or results: what is kept, forgotten, and refused."""

import asyncio
import dataclasses
from typing import Any

import pytest

from outlast import (
    Engine,
    call_child,
    parallel,
    sleep,
    start_child,
    step,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_signal,
    workflow,
)
from outlast.errors import ArgumentError, ConfigError, IllegalMove, UnknownProgram, ValueTooLarge
from outlast.testing import assert_failed, assert_status, by_hand, clock_of, drain
from outlast.workflows.steps import _MADE
from tests.engine.given import SOON_S, Ear, Engines, Table, soon
from tests.workflows.programs import SEEN, saga

BAD: set[str] = set()
"""Steps that fail now."""


@pytest.fixture(autouse=True)
def _nothing_bad() -> None:
    BAD.clear()


@dataclasses.dataclass
class Receipt:
    cents: int


@step(name="redo.do")
async def do(name: str) -> str:
    SEEN.append(name)
    if name in BAD:
        raise ValueError(f"{name} is bad")
    return name.upper()


@step(name="redo.pay")
async def pay(cents: int) -> Receipt:
    SEEN.append(f"pay {cents}")
    if "pay" in BAD:
        raise ValueError("declined")
    return Receipt(cents)


@workflow(name="redo.line")
async def line(cents: int, word: str = "d") -> list[Any]:
    a = await do("a")
    b = await do("b")
    paid = await pay(cents)
    d = await do(word)
    return [a, b, paid.cents, d]


async def failed(engine: Engine, what: Any, *bad: str) -> Any:
    """An instance that failed because these steps are bad; they are well again, and nothing is seen."""
    BAD.update(bad)
    handle = await engine.start(what)
    await drain(engine)
    await assert_failed(engine, handle)
    BAD.clear()
    SEEN.clear()
    return handle


async def test_without_more_it_goes_on_where_it_failed(hand: Engine) -> None:
    handle = await failed(hand, line.new(cents=5), "pay")

    await handle.retry(reason="the bank is back", by="ann")
    await drain(hand)

    assert await handle.result(10) == ["A", "B", 5, "D"]
    assert SEEN == ["pay 5", "d"]
    (act,) = await hand.acts(handle.id)
    assert (act.act, act.by, act.reason) == ("retried", "ann", "the bank is back")
    (forgot,) = act.detail["forgot"]
    assert (forgot["key"], forgot["status"], forgot["attempt"]) == ("redo.pay#1", "failed", 1)
    assert forgot["error"]["message"] == "declined"


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("redo.do#1", ["a", "b", "pay 5", "d"]),
        ("redo.do#2", ["b", "pay 5", "d"]),
        ("redo.pay#1", ["pay 5", "d"]),
        ("redo.pay", ["pay 5", "d"]),
        ("redo.do#3", ["d"]),
    ],
)
async def test_from_a_step_on_all_is_forgotten_and_done_again(hand: Engine, name: str, again: list[str]) -> None:
    ear = Ear(hand)
    handle = await failed(hand, line.new(cents=5), "d")

    await handle.retry(from_step=name, by="ann", reason="r")
    await drain(hand)

    assert await handle.result(10) == ["A", "B", 5, "D"]
    assert SEEN == again
    (act,) = await hand.acts(handle.id)
    all_keys = ["redo.do#1", "redo.do#2", "redo.pay#1", "redo.do#3"]
    assert [note["key"] for note in act.detail["forgot"]] == all_keys[-len(again) :]
    assert act.detail["from_step"] == ("redo.pay#1" if name == "redo.pay" else name)
    assert act.detail["forgot"][-1]["error"]["message"] == "d is bad"
    (said,) = ear.all("instance.retried")
    assert (said["id"], said["by"], said["from_step"], said["reason"]) == (handle.id, "ann", name, "r")


async def test_arguments_are_changed_by_name(hand: Engine) -> None:
    handle = await failed(hand, line.new(cents=5), "d")

    await handle.retry(from_step="redo.pay", input={"cents": 7})
    await drain(hand)

    assert await handle.result(10) == ["A", "B", 7, "D"]
    (act,) = await hand.acts(handle.id)
    assert act.detail["input"] == {"before": {"cents": 5}, "after": {"cents": 7}}
    assert SEEN == ["pay 7", "d"]


async def test_a_result_is_replaced_also_of_a_step_that_failed(hand: Engine) -> None:
    handle = await failed(hand, line.new(cents=5), "pay")

    await handle.retry(result_of={"redo.pay#1": Receipt(9), "redo.do#1": "other"})
    await drain(hand)

    assert await handle.result(10) == ["other", "B", 9, "D"]
    assert SEEN == ["d"]
    results = (await hand.acts(handle.id))[0].detail["results"]
    assert results["redo.pay#1"]["after"] == {"cents": 9}
    assert results["redo.pay#1"]["before"]["status"] == "failed"
    assert results["redo.do#1"]["before"]["value"] == "A"
    assert [(found.key, found.status) for found in await hand.steps(handle.id)][2] == ("redo.pay#1", "done")


async def test_what_does_not_fit_is_refused_and_nothing_is_changed(hand: Engine) -> None:
    handle = await failed(hand, line.new(cents=5), "pay")
    before, steps = await handle.get(), await hand.steps(handle.id)
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigError, "holds nothing called 'redo.pax#1'; did you mean 'redo.pay#1'", {"from_step": "redo.pax#1"}),
        (ConfigError, "was called 2 times: 'redo.do#1', 'redo.do#2'; name one", {"from_step": "redo.do"}),
        (ConfigError, "holds nothing called '~timeout'", {"from_step": "~timeout"}),
        (ConfigError, "from_step takes", {"from_step": 5}),
        (ArgumentError, "has no argument 'centz'; did you mean 'cents'", {"input": {"centz": 7}}),
        (ArgumentError, "cents", {"input": {"cents": "many"}}),
        (ArgumentError, "input takes an object", {"input": [5]}),
        (ArgumentError, "result given for 'redo.pay#1' does not fit", {"result_of": {"redo.pay#1": "no receipt"}}),
        (ConfigError, "holds nothing called 'nobody#1'", {"result_of": {"nobody#1": 1}}),
        (
            ConfigError,
            "'redo.do#2', which this retry forgets",
            {"from_step": "redo.do#2", "result_of": {"redo.do#2": "x"}},
        ),
        (ConfigError, "is no machine: change its arguments with input", {"state": {"cents": 1}}),
        (ValueTooLarge, "the input", {"input": {"word": "x" * 2_000_000}}),
        (ValueTooLarge, "the result given for 'redo.do#1'", {"result_of": {"redo.do#1": "x" * 2_000_000}}),
        (ConfigError, "by", {"by": ""}),
    ]

    for kind, match, changes in wrong:
        with pytest.raises(kind) as caught:
            await handle.retry(**changes)
        assert match in str(caught.value)

    assert await handle.get() == before
    assert await hand.steps(handle.id) == steps
    assert await hand.acts(handle.id) == []


async def test_what_nobody_here_can_check_is_not_believed(hand: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await failed(hand, line.new(cents=5), "d")
    monkeypatch.delitem(hand._catalogue._programs, ("redo.line", 1))
    monkeypatch.setattr(hand, "_adopt", lambda: None)
    monkeypatch.delitem(_MADE, "redo.pay")

    with pytest.raises(ConfigError, match=r"step 'redo.pay' is not known here"):
        await handle.retry(result_of={"redo.pay": 5})
    with pytest.raises(UnknownProgram, match=r"the code of 'redo.line' version 1 is not known here"):
        await handle.retry(input={})
    assert (await handle.retry(from_step="redo.pay")).status == "ready"  # that takes no code.


@pytest.mark.parametrize("status", ["ready", "scheduled", "running", "waiting", "blocked", "done"])
async def test_what_has_not_ended_badly_is_refused(hand: Engine, status: str) -> None:
    table = Table(hand.config.url)
    handle = await hand.start(line.new(cents=5))
    if status == "running":
        table.poke(handle.id, status=status, node="n")
    elif status == "done":
        await drain(hand)
    else:
        table.poke(handle.id, status=status)

    with pytest.raises(IllegalMove, match=f"is '{status}'; only"):
        await handle.retry(from_step="redo.do#1")


# What was over when.


async def test_with_branches_what_was_over_later_is_forgotten_in_all_of_them(hand: Engine) -> None:
    async def left() -> list[str]:
        one = await do("l1")
        await sleep(60)
        return [one, await do("l2")]

    async def right() -> list[str]:
        await sleep(30)
        one = await do("r1")
        await sleep(60)
        return [one, await do("r2")]

    @workflow
    async def both() -> Any:
        return await parallel(left(), right())

    BAD.add("r2")
    handle = await hand.start(both.new())
    for _ in range(4):
        await drain(hand)
        clock_of(hand).jump(31)
    await assert_failed(hand, handle)
    assert SEEN == ["l1", "r1", "l2", "r2"]
    BAD.clear()
    SEEN.clear()

    await handle.retry(from_step="right#1/redo.do#1")
    for _ in range(4):
        await drain(hand)
        clock_of(hand).jump(61)

    assert await handle.result(10) == [["L1", "L2"], ["R1", "R2"]]
    assert SEEN == ["r1", "l2", "r2"]  # l1 was over before r1; l2 after it.


async def test_a_failure_that_was_caught_before_stays_and_one_after_is_forgotten(hand: Engine) -> None:
    @workflow
    async def careful() -> list[str]:
        found: list[str] = []
        for name in ("a", "b", "c"):
            try:
                found.append(await do(name))
            except ValueError:
                found.append(f"no {name}")
        return [*found, await do("end")]

    handle = await failed(hand, careful.new(), "a", "c", "end")

    await handle.retry(from_step="redo.do#3")
    await drain(hand)

    assert await handle.result(10) == ["no a", "B", "C", "END"]
    assert SEEN == ["c", "end"]


# Signals, people, children.


async def test_signals_that_were_used_by_what_is_forgotten_are_there_again(hand: Engine) -> None:
    @workflow
    async def waits() -> Any:
        first = await wait_for_signal("s")
        await do("mid")
        second = await wait_for_signal("s")
        third = await wait_for_any("x", "y")
        fourth = await wait_for_all("p", "q")
        answer = await wait_for_approval("boss")
        late = await wait_for_signal("never", timeout=10, default="late")
        await do("end")
        return [first, second, third, fourth, answer, late]

    BAD.add("end")
    handle = await hand.start(waits.new())
    for name, payload in (("s", 1), ("s", 2), ("y", 3), ("p", 4), ("q", 5)):
        await handle.signal(name, payload)
        await drain(hand)
    await hand.provide_input(handle, "boss", "approved")
    await drain(hand)
    clock_of(hand).jump(11)
    await drain(hand)
    await assert_failed(hand, handle)
    BAD.clear()

    await handle.retry(from_step="redo.do#1")
    assert [letter.name for letter in await hand.signals(handle) if letter.consumed_at is None] == [
        "s",
        "y",
        "p",
        "q",
        "~answer:input:boss#1",
    ]
    await drain(hand)
    clock_of(hand).jump(11)
    await drain(hand)

    assert await handle.result(10) == [1, 2, ["y", 3], {"p": 4, "q": 5}, "approved", "late"]
    (act,) = await hand.acts(handle.id)
    assert act.detail["put_back"] == ["s", "y", "p", "q", "~answer:input:boss#1"]


async def test_an_input_that_was_called_off_is_asked_again(hand: Engine) -> None:
    @workflow
    async def asks() -> Any:
        await do("a")
        return await wait_for_approval("boss")

    handle = await hand.start(asks.new())
    await drain(hand)
    await hand.cancel_input(handle, "boss", "on holiday")
    await drain(hand)
    await assert_failed(hand, handle, "input 'boss' was called off")

    await handle.retry(from_step="input:boss#1")
    await drain(hand)
    assert [letter.name for letter in await hand.signals(handle) if letter.consumed_at is None] == []
    assert await hand.provide_input(handle, "boss", "approved") == "delivered"
    assert await hand.cancel_input(handle, "boss") == "duplicate"
    await drain(hand)

    assert await handle.result(10) == "approved"
    assert SEEN == ["a"]


async def test_people_who_have_answered_need_not_do_so_again_after_a_compensation(hand: Engine) -> None:
    async def undo() -> None:
        SEEN.append("undo")

    @step(compensate=undo)
    async def undoable() -> None:
        SEEN.append("do")

    @workflow
    async def asks() -> Any:
        await undoable()
        answer = await wait_for_approval("boss")
        await do("end")
        return answer

    BAD.add("end")
    handle = await hand.start(asks.new())
    await drain(hand)
    await hand.provide_input(handle, "boss", "approved")
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    BAD.clear()

    await handle.retry()
    await drain(hand)

    assert await handle.result(10) == "approved"
    assert SEEN == ["do", "end", "undo", "do", "end"]


async def test_children_of_what_is_forgotten_are_started_anew(hand: Engine) -> None:
    @workflow(name="redo.child")
    async def child(number: int) -> int:
        SEEN.append(f"child {number}")
        return number

    @workflow(name="redo.parent")
    async def parent() -> Any:
        one = await call_child(child.new(number=1))
        two = await call_child(child.new(number=2))
        await start_child(child.new(number=3))
        await do("end")
        return [one, two]

    hand._catalogue.add(child)
    handle = await failed(hand, parent.new(), "end")
    old = [found.id for found in await hand.children(handle)]

    await handle.retry(from_step="child:redo.child#2")
    await drain(hand)

    assert await handle.result(10) == [1, 2]
    assert SEEN == ["child 2", "end", "child 3"]
    found = await hand.children(handle)
    assert [each.id for each in found][:3] == old
    assert [(each.round, each.status) for each in found] == [(1, "done")] * 3 + [(2, "done")] * 2


async def test_a_compensated_workflow_with_children_starts_them_anew(hand: Engine) -> None:
    # Was: the new child had the old one's place, was not inserted, and was waited for for ever.
    async def undo() -> None:
        """Nothing to do."""

    @step(compensate=undo)
    async def undoable() -> None:
        """Can be undone."""

    @workflow(name="redo.child2")
    async def child() -> str:
        return "grown"

    @workflow(name="redo.parent2")
    async def parent() -> Any:
        await undoable()
        found = await call_child(child.new())
        await do("end")
        return found

    hand._catalogue.add(child)
    BAD.add("end")
    handle = await hand.start(parent.new())
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    BAD.clear()

    await handle.retry()
    await drain(hand)

    assert await handle.result(10) == "grown"


async def test_a_child_that_has_not_ended_is_not_started_a_second_time(hand: Engine) -> None:
    @workflow(name="redo.child3")
    async def child() -> None:
        await wait_for_signal("go")

    @workflow(name="redo.parent3")
    async def parent() -> None:
        await start_child(child.new())
        await do("end")

    hand._catalogue.add(child)
    handle = await failed(hand, parent.new(), "end")
    (found,) = await hand.children(handle)

    with pytest.raises(IllegalMove, match=f"child {found.id} has not ended .*cancel it first, or choose a later step"):
        await handle.retry(from_step="child:redo.child3#1")
    await hand.retry(handle.id, from_step="redo.do")  # a later step: that child stays.
    await drain(hand)
    await assert_status(hand, handle, "done")
    assert len(await hand.children(handle)) == 1


# What was undone.


async def test_an_undone_step_is_never_taken_for_done(hand: Engine) -> None:
    handle = await hand.start(saga.new(bad=3))
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    SEEN.clear()

    for later in ("charge#2", "charge#3"):
        with pytest.raises(IllegalMove, match=r"'charge#1' was undone: .* Retry from 'charge#1' or from something"):
            await handle.retry(from_step=later)
    with pytest.raises(ConfigError, match="'charge#1', which this retry forgets"):
        await handle.retry(result_of={"charge#1": {"order": 1, "cents": 1}})
    await handle.retry(from_step="charge#1", input={"bad": 9})
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == [
        *(f"charge {number}" for number in (1, 2, 3)),
        *(f"refund {number} {number}00" for number in (3, 2, 1)),
    ]


async def test_where_an_undoing_failed_nobody_goes_on_from_a_step(hand: Engine) -> None:
    async def undo() -> None:
        SEEN.append("undo")
        raise RuntimeError

    @step(compensate=undo)
    async def undoable() -> None:
        SEEN.append("done")

    @workflow
    async def stuck() -> None:
        await do("a")
        await undoable()
        await do("end")

    BAD.add("end")
    handle = await hand.start(stuck.new())
    await drain(hand)
    await assert_status(hand, handle, "compensation_failed")

    with pytest.raises(IllegalMove, match="compensation of 'undoable#1' has not succeeded, so nobody knows"):
        await handle.retry(from_step="redo.do#1")


async def test_a_workflow_cancelled_while_it_was_undone_goes_on_undoing(hand: Engine) -> None:
    # Was: it went forward again, with what was undone recorded as done.
    async def undo(number: int) -> None:
        SEEN.append(f"undo {number}")

    @step(compensate=undo)
    async def undoable(number: int) -> int:
        return number

    @workflow
    async def failing() -> None:
        try:
            await do("caught")  # forgotten, it would not lead to what was done because it failed.
        except ValueError:
            await undoable(1)
        await undoable(2)
        await do("end")

    BAD.update(["end", "caught"])
    handle = await hand.start(failing.new())
    await drain(hand)
    await assert_status(hand, handle, "compensated")
    table = Table(hand.config.url)
    table.query("DELETE FROM {journal} WHERE instance = ? AND key = ?", handle.id, "~undo/undoable#1/undo#1")
    table.poke(handle.id, status="cancelled")  # as it stood after the first of them.
    BAD.clear()
    SEEN.clear()

    with pytest.raises(IllegalMove, match="it is being undone"):
        await handle.retry(result_of={"redo.do#2": "x"})
    await handle.retry()
    await drain(hand)

    await assert_status(hand, handle, "compensated")
    assert SEEN == ["undo 1"]


# While others work.


async def test_an_old_claim_commits_nothing_after_a_retry(engines: Engines) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    @step
    async def slow(word: str) -> str:
        SEEN.append(word)
        began.set()
        if word == "old":
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue  # it does not want to be stopped.
        return word

    @workflow
    async def one(word: str) -> str:
        return await slow(word)

    # While the old run is here, a new claim goes back; the next look finds it again.
    worker = await engines.open(programs=[one], poll_interval=0.05, max_poll_interval=0.05)
    handle = await worker.start(one.new(word="old"))
    await soon(began.wait())
    await handle.cancel()

    await handle.retry(input={"word": "new"})
    go_on.set()

    assert await handle.result(SOON_S) == "new"
    assert [(found.key, found.value) for found in await worker.steps(handle)] == [("slow#1", "new")]


async def test_a_retry_planned_while_another_was_made_is_planned_anew(hand: Engine) -> None:
    handle = await failed(hand, line.new(cents=5), "pay")
    notes = hand._store.journal.notes
    calls = 0

    async def notes_and_a_rival(ids: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await notes(ids)
        if calls == 1:
            hand._store.journal.notes = notes  # type: ignore[method-assign]
            BAD.add("d")
            await hand.retry(handle.id)
            await drain(hand)
            BAD.clear()
        return found

    hand._store.journal.notes = notes_and_a_rival  # type: ignore[method-assign]
    await handle.retry()
    await drain(hand)

    assert await handle.result(10) == ["A", "B", 5, "D"]
    assert SEEN == ["pay 5", "d", "d"]  # what the rival recorded is kept.
    assert len(await hand.acts(handle.id)) == 2


async def test_the_record_outlives_the_retry_and_the_engine(store_url: str) -> None:
    async with by_hand(url=store_url) as first:
        handle = await failed(first, line.new(cents=5), "pay")
        await first.retry(handle.id, from_step="redo.do#1", by="ann")
        await drain(first)
    async with by_hand(url=store_url) as second:
        (act,) = await second.acts(handle.id)

    assert (act.by, act.detail["from_step"]) == ("ann", "redo.do#1")
    assert [note["value"] for note in act.detail["forgot"][:2]] == ["A", "B"]
