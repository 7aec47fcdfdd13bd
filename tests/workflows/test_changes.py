"""Code that changes under instances that wait: steps added, taken away, moved."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from harness.waiting import eventually_async
from outlast import Engine, current_step, sleep, step, wait_for_signal, workflow
from outlast.testing import by_hand, clock_of, drain
from tests.workflows.programs import SEEN, charge, reserve, ship


def first() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        a = await reserve(1)
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        return [a, b]

    return changing


def added() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        new = await charge(9, 900)
        a = await reserve(1)
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        return [new.cents, a, b]

    return changing


def removed() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        await sleep(60)
        return [await ship(2)]  # type: ignore[misc]

    return changing


def moved() -> Any:
    @workflow(name="wf.changing")
    async def changing() -> list[Any]:
        await sleep(60)
        b = await ship(2)  # type: ignore[misc]
        a = await reserve(1)
        return [a, b]

    return changing


@pytest.mark.parametrize(
    ("later", "result", "ran"),
    [
        (first, ["stock 1", 2], ["ship 2"]),
        (added, [900, "stock 1", 2], ["charge 9", "ship 2"]),
        (removed, [2], ["ship 2"]),
        (moved, ["stock 1", 2], ["ship 2"]),
    ],
)
async def test_an_instance_goes_on_with_the_new_code(store_url: str, later: Any, result: Any, ran: list[str]) -> None:
    program = first()
    async with by_hand(url=store_url, programs=[program]) as before:
        handle = await before.start(program.new())
        await drain(before)
        assert SEEN == ["reserve 1"]
        SEEN.clear()
    new = later()

    async with by_hand(url=store_url, programs=[new]) as after:
        clock_of(after).jump(61)
        await drain(after)
        assert await after.handle(handle.id).result(10) == result
    assert SEEN == ran


# A thousand instances of old code, at four places each, and the code of the next release.

PLACES = ("one", "two", "three")
"""The signals that the old code waits for: an instance has got past the first few of them."""
KINDS = ("same", "added", "removed", "moved", "renamed", "retyped", "longer", "shorter", "replaced", "versioned")
EACH = 100
"""Instances of each kind of change: 25 for each place."""
HISTORY: list[tuple[str, str]] = []
"""Every execution of a step: the instance and the step's key."""


def _done() -> None:
    info = current_step()
    assert info is not None
    HISTORY.append((info.id, info.key))


@dataclass
class Box:
    """What a step returns since the next release."""

    number: int


@step(name="first")
async def first_step(number: int) -> int:
    _done()
    return number


@step(name="second")
async def second_step(number: int) -> dict[str, int]:
    _done()
    return {"number": number}


@step(name="second")
async def second_retyped(number: int) -> Box:
    _done()
    return Box(number)


@step(name="second_renamed")
async def second_renamed(number: int) -> dict[str, int]:
    _done()
    return {"number": number}


@step(name="new")
async def new_step(number: int) -> int:
    _done()
    return number


@step(name="item")
async def item(number: int) -> int:
    _done()
    return number


@step(name="last")
async def last_step(number: int) -> int:
    _done()
    return number


def old_code(name: str) -> Any:
    @workflow(name=name)
    async def release(number: int) -> list[Any]:
        got: list[Any] = [await first_step(number)]
        await wait_for_signal("one")
        got.append(type(await second_step(number)).__name__)
        await wait_for_signal("two")
        got += [await item(n) for n in range(3)]
        await wait_for_signal("three")
        return [*got, await last_step(number)]

    return release


def new_code(name: str, kind: str) -> Any:
    """The next release: the same name, and one change."""
    second = {"renamed": second_renamed, "retyped": second_retyped}.get(kind, second_step)

    @workflow(name=name, version=2 if kind == "versioned" else 1)
    async def release(number: int) -> list[Any]:
        got: list[Any] = [await new_step(number)] if kind in ("added", "versioned") else []
        if kind == "replaced":
            return [await new_step(number)]
        got.append(await first_step(number))
        await wait_for_signal("one")
        if kind not in ("removed", "moved"):
            got.append(type(await second(number)).__name__)
        await wait_for_signal("two")
        got += [await item(n) for n in range({"longer": 5, "shorter": 2}.get(kind, 3))]
        await wait_for_signal("three")
        if kind == "moved":
            got.append(type(await second(number)).__name__)
        return [*got, await last_step(number)]

    return release


def _recorded(place: int) -> list[str]:
    """The steps that an instance has behind it which waits for the signal at this place; 3: it never ran."""
    steps = ["first#1", "second#1", "item#1", "item#2", "item#3"]
    return steps[: (1, 2, 5, 0)[place]]


def _calls(kind: str) -> list[str]:
    """The steps that the new code calls."""
    if kind == "replaced":
        return ["new#1"]
    items = [f"item#{n + 1}" for n in range({"longer": 5, "shorter": 2}.get(kind, 3))]
    second = {"removed": [], "renamed": ["second_renamed#1"]}.get(kind, ["second#1"])
    return [*(["new#1"] if kind == "added" else []), "first#1", *second, *items, "last#1"]


def _uncalled(kind: str, place: int) -> list[str]:
    """What the new code does not call, of what is recorded: steps, and the waits before them."""
    steps = set(_recorded(place)) - set(_calls(kind))
    waits = [f"signal:{name}#1" for name in PLACES[: place + 1]] if kind == "replaced" and place < 3 else []
    return sorted([*steps, *waits])


def _result(kind: str, number: int) -> list[Any]:
    """What an instance ends with."""
    if kind == "replaced":
        return [number]
    items = list(range({"longer": 5, "shorter": 2}.get(kind, 3)))
    second = [] if kind in ("removed", "moved") else ["Box" if kind == "retyped" else "dict"]
    late = ["dict"] if kind == "moved" else []
    return [*([number] if kind == "added" else []), number, *second, *items, *late, number]


async def test_a_thousand_instances_of_old_code_are_ended_by_the_next_release(store_url: str) -> None:
    old = {kind: old_code(f"wf.release.{kind}") for kind in KINDS}
    new = {kind: new_code(f"wf.release.{kind}", kind) for kind in KINDS}
    idle = Engine(store_url, programs=old.values(), queues={})
    await idle.migrate()

    async with idle, Engine(store_url, programs=old.values(), queues={"default": 200}) as before:
        starts = [(kind, n, old[kind].new(n)) for kind in KINDS for n in range(EACH)]
        parked = await before.start_many(start for _, n, start in starts if n % 4 < 3)
        places = [(kind, n) for kind, n, _ in starts if n % 4 < 3]
        await asyncio.gather(
            *(
                before.signal(handle, name)
                for handle, (_, n) in zip(parked, places, strict=True)
                for name in PLACES[: n % 4]
            )
        )
        await _settled(before)
    async with idle:
        fresh = await idle.start_many(start for _, n, start in starts if n % 4 == 3)
        places += [(kind, n) for kind, n, _ in starts if n % 4 == 3]
        all_of_them = [(handle.id, kind, n) for handle, (kind, n) in zip([*parked, *fresh], places, strict=True)]
        assert len(all_of_them) == 1_000
        first = _history()
        assert {id: first.get(id, []) for id, _, _ in all_of_them} == {
            id: sorted(_recorded(n % 4)) for id, _, n in all_of_them
        }
        HISTORY.clear()
        await asyncio.gather(
            *(idle.signal(id, name) for id, _, n in all_of_them for name in (PLACES if n % 4 == 3 else PLACES[n % 4 :]))
        )

    told: dict[str, list[str]] = {}
    programs = [*new.values(), old["versioned"]]
    async with Engine(store_url, programs=programs, queues={"default": 200}) as after:
        after.on("steps.uncalled", lambda _, fields: told.setdefault(fields["id"], []).append(fields["keys"]))
        await asyncio.gather(*(after.handle(id).result(60) for id, _, _ in all_of_them))
        results = {id: await after.handle(id).result(10) for id, _, _ in all_of_them}
        steps = {id: await after.steps(id) for id, _, _ in all_of_them}

    # Nothing was lost and nothing ran that was recorded: exactly, for each.
    assert results == {id: _result(kind, n) for id, kind, n in all_of_them}
    second = _history()
    assert {id: second.get(id, []) for id, _, _ in all_of_them} == {
        id: sorted(set(_calls(kind)) - set(_recorded(n % 4))) for id, kind, n in all_of_them
    }
    # What the new code does not call is told, once for each, and kept.
    uncalled = {id: _uncalled(kind, n % 4) for id, kind, n in all_of_them}
    assert told == {id: [", ".join(keys)] for id, keys in uncalled.items() if keys}
    assert {id: sorted(step.key for step in found if not step.called) for id, found in steps.items()} == uncalled
    assert [id for id, kind, n in all_of_them if not {*_calls(kind), *_recorded(n % 4)} <= _keys(steps[id])] == []
    assert sum(bool(keys) for keys in uncalled.values()) == 2 * 50 + 75 + 25


def _history() -> dict[str, list[str]]:
    """The steps that were executed, by instance."""
    found: dict[str, list[str]] = {}
    for id, key in sorted(HISTORY):
        found.setdefault(id, []).append(key)
    return found


def _keys(steps: Any) -> set[str]:
    return {step.key for step in steps}


async def _settled(engine: Engine) -> None:
    """Until all that was started waits for a signal."""

    async def settled() -> bool:
        (queue,) = await engine.queues()
        return queue.waiting == 750 and queue.ready == queue.running == queue.scheduled == 0

    await eventually_async(settled, timeout=60)
