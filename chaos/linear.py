"""Whether what callers of a number were told could have come from one number, changed at one moment by each call.

An exact search, call by call, in the order in which answers came (Wing and Gong). What was told as `maybe`, or never
answered because its process died, may have happened once at any moment until `LATE_US` after it was made, or never:
that is longer than anything that could still make it happen lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

LATE_US: Final = 60_000_000
STEPS_MAX: Final = 2_000_000
"""Moves that are tried for one object; more than that is no verdict."""


class Op(NamedTuple):
    """A call that may have happened.

    Attributes:
        began_us: When it was about to be made.
        ended_us: When its answer had come; None: nobody knows what became of it.
        kind: `add`, `get`, `swap`, or `keyed`: an `add` that happens once for its key.
        args: Amount; old and new; amount and key.
        answer: What it was told.
    """

    began_us: int
    ended_us: int | None
    kind: str
    args: tuple[int | str, ...]
    answer: int | None


Answers = frozenset[tuple[str, int]]


class At(NamedTuple):
    """Where the number may stand: its value, answers by key, and calls that have happened and were not answered yet."""

    value: int
    keys: Answers
    done: frozenset[int]


def _after(op: Op, number: int, at: At) -> At | None:
    """What becomes of the number if the call happens now; None: it cannot have, for it was told something else."""
    value, keys = at.value, at.keys
    answer: int
    match op.kind:
        case "add":
            value = answer = value + int(op.args[0])
        case "get" | "last":
            answer = value
        case "swap":
            answer = int(value == op.args[0])
            if answer:
                value = int(op.args[1])
        case "keyed":
            known = next((answer for key, answer in keys if key == op.args[1]), None)
            if known is None:
                known = value = value + int(op.args[0])
                keys = keys | {(str(op.args[1]), value)}
            answer = known
        case _:
            raise ValueError(op.kind)
    if op.ended_us is not None and answer != op.answer:
        return None
    if op.ended_us is None and value == at.value:
        return None  # nobody could tell: it is as if it never had happened.
    return At(value, keys, at.done | {number})


def fault_of(ops: Iterable[Op], last: int | None) -> str | None:
    """The first answer that nothing explains, as a sentence; None: all are explained, and so is the last value."""
    ordered = sorted(ops, key=lambda op: op.began_us)
    if last is not None:
        end_us = max((op.ended_us or op.began_us for op in ordered), default=0) + 1
        ordered.append(Op(end_us, end_us, "last", (), last))
    events: list[tuple[int, int, int]] = []
    for number, op in enumerate(ordered):
        events.append((op.began_us, 0, number))
        events.append((op.began_us + LATE_US if op.ended_us is None else op.ended_us, 1, number))
    events.sort()
    places, live, steps = {At(0, frozenset(), frozenset())}, set[int](), 0
    uses: dict[str, int] = {}
    for op in ordered:
        if op.kind == "keyed":
            uses[str(op.args[1])] = uses.get(str(op.args[1]), 0) + 1
    for _, is_end, number in events:
        if not is_end:
            live.add(number)
            places = {_settled(ordered, at, (number,)) for at in places}
            continue
        op = ordered[number]
        if op.ended_us is not None:
            found, more = _reach(ordered, places, live, number)
            steps += more
            if not found:
                values = ", ".join(sorted({str(at.value) for at in places})[:3])
                if op.kind == "last":
                    return f"the database holds {last}, when the number can only be {values}"
                return f"{op.kind}{op.args} was told {op.answer}, when the number can have been {values}"
            places = found
        if op.kind == "keyed":
            uses[str(op.args[1])] -= 1
            if not uses[str(op.args[1])]:  # nobody asks for this key any more.
                key = op.args[1]
                places = {at._replace(keys=frozenset(pair for pair in at.keys if pair[0] != key)) for at in places}
        live.discard(number)
        places = {at._replace(done=at.done - {number}) for at in places}
        if steps > STEPS_MAX:
            return f"no verdict after {steps} moves"
    return None


def _settled(ops: list[Op], at: At, numbers: Iterable[int]) -> At:
    """The same value, and of these calls those have happened that are told so and change nothing: the earlier the
    better."""
    more = [
        number
        for number in numbers
        if number not in at.done
        and ops[number].ended_us is not None
        and (after := _after(ops[number], number, at)) is not None
        and after[:2] == at[:2]
    ]
    return at._replace(done=at.done.union(more)) if more else at


def _reach(ops: list[Op], places: set[At], live: set[int], number: int) -> tuple[set[At], int]:
    """Where the number can stand once this call has happened, with as few others before it as may be.

    Fewer are enough: what has not happened yet still may, and amounts are so chosen that no two sums are alike. What
    changes nothing happens as soon as it can: it is told something that was true then.
    """
    found = {at for at in places if number in at.done}
    steps, level, seen = 0, places - found, set(places)
    while level:
        further: set[At] = set()
        for at in level:
            steps += 1
            after = _after(ops[number], number, at)
            if after is not None:
                found.add(_settled(ops, after, live))
        if found:
            return found, steps
        for at in level:
            for other in live - at.done - {number}:
                steps += 1
                after = _after(ops[other], other, at)
                if after is not None and (settled := _settled(ops, after, live)) not in seen:
                    further.add(settled)
        seen |= further
        level = further
        if steps > STEPS_MAX:
            break
    return found, steps
