"""Rules for objects: histories that one number explains, and nothing that was sent, passed on or set is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from chaos.evidence import Evidence
from chaos.history import Call
from chaos.linear import Op, fault_of

_NUMBERS = frozenset({"add", "get", "swap", "keyed"})


def calls(evidence: Evidence) -> Iterator[tuple[str, Call, Call | None]]:
    """Every call: its object, what it was, and what became of it."""
    for story in evidence.stories.values():
        for posting, ask in story.asks.items():
            yield posting[0], ask, story.tolds.get(posting)


def out_of_line(evidence: Evidence) -> Iterator[str]:
    """What callers were told of an object's number could have come from one number. What was told not to have
    happened has not."""
    ops: dict[str, list[Op]] = defaultdict(list)
    for id, ask, told in calls(evidence):
        if ask.word not in _NUMBERS or (told is not None and told.word == "no"):
            continue
        ended_us = told.at_us if told is not None and told.word == "ok" else None
        if ended_us is None and ask.word == "get":
            continue
        args = tuple(int(arg) if arg.isdigit() else arg for arg in ask.args)
        answer = int(told.args[0]) if told is not None and told.word == "ok" else None
        ops[id].append(Op(ask.at_us, ended_us, ask.word, args, answer))
    for id in sorted({*ops, *evidence.cells}):
        if fault := fault_of(ops.get(id, ()), int(evidence.cells[id]["value"]) if id in evidence.cells else 0):
            yield f"out of line: {id}: {fault}"


def undelivered(evidence: Evidence) -> Iterator[str]:
    """What was sent has come; what was passed on has come if, and only if, it was committed; with a key, once."""
    cells = evidence.cells
    for id, ask, told in calls(evidence):
        outcome = None if told is None else told.word
        if ask.word in ("send", "once"):
            count = cells.get(id, {}).get("marks", {}).get(ask.args[0], 0)
            if outcome == "ok" and not count:
                yield f"undelivered: {ask.args[0]} was sent to {id} and has not come"
            if ask.word == "once" and count > 1:
                yield f"doubled: {ask.args[0]} was sent to {id} with a key and has come {count} times"
        elif ask.word == "pass":
            token, to = ask.args
            count = cells.get(to, {}).get("marks", {}).get(token, 0)
            passed = cells.get(id, {}).get("passed", []).count(token)
            if passed != count or passed > 1:
                yield f"torn: {token} was passed on {passed} times by {id} and has come {count} times to {to}"
            if outcome == "ok" and not passed:
                yield f"lost: {id} was told to pass {token} on, said so, and has not"
            if outcome == "no" and passed:
                yield f"untrue: {id} has passed {token} on, and its caller was told that it did not happen"


def unrung(evidence: Evidence) -> Iterator[str]:
    """Each alarm that was set rings, once in the state; one that was cancelled in time does not."""
    disarmed = {
        (id, ask.args[0])
        for id, ask, told in calls(evidence)
        if ask.word == "disarm" and (told is None or told.word != "no")
    }
    silenced = {
        (id, ask.args[0])
        for id, ask, told in calls(evidence)
        if ask.word == "disarm" and told is not None and told.word == "ok" and told.args[0] == "0"
    }
    rings: dict[str, int] = {}
    for story in evidence.stories.values():
        for id, at_us in story.rings:
            rings[id] = max(at_us, rings.get(id, 0))
    for id, ask, told in calls(evidence):
        outcome = None if told is None else told.word
        if ask.word == "arm":
            count = evidence.cells.get(id, {}).get("rung", {}).get(ask.args[0], 0)
            if count > 1:
                yield f"doubled: alarm {ask.args[0]} of {id} has rung {count} times"
            if outcome == "ok" and not count and (id, ask.args[0]) not in disarmed:
                yield f"unrung: alarm {ask.args[0]} of {id} was set and has not rung"
            if outcome == "no" and count:
                yield f"untrue: alarm {ask.args[0]} of {id} has rung, and its caller was told that it was not set"
            if count and (id, ask.args[0]) in silenced:
                yield f"rung: alarm {ask.args[0]} of {id} was cancelled before it had rung, and has rung"
        elif ask.word == "tick" and outcome == "ok" and rings.get(id, 0) < ask.at_us:
            yield f"unrung: the tick of {id} was set at {ask.at_us} and has not rung since"
