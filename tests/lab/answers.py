"""What operations were told, held against the rows: whoever is told that something was done finds it done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from outlast._model import Activated, Committed, ObjectCommit, ObjectKey, Receipt, Settlement, Signal, Taken
from tests.lab.check import Rows


@dataclass(frozen=True)
class Settled:
    """Outcomes that a node has written, and what became of them."""

    node: str
    batch: Sequence[Settlement]
    committed: Committed


@dataclass(frozen=True)
class Sent:
    """Signals, and their receipts."""

    batch: Sequence[Signal]
    receipts: Sequence[Receipt]


@dataclass(frozen=True)
class Took:
    """Claims."""

    node: str
    claims: Taken


@dataclass(frozen=True)
class Saved:
    """Commits of objects by a node, and those that were lost."""

    node: str
    batch: Sequence[ObjectCommit]
    lost: Sequence[ObjectKey]


@dataclass(frozen=True)
class Made:
    """Objects that a node has come to own."""

    node: str
    activated: Activated


@dataclass(frozen=True)
class Fired:
    """Whether a tick was fired, and from which revision."""

    revision: int
    was_first: bool


def falsehoods(results: Sequence[Any], rows: Rows) -> list[str]:
    """What operations were told, and is not so."""
    found = [f"error: {type(result).__name__}: {result}" for result in results if isinstance(result, Exception)]
    for result in results:
        match result:
            case Settled():
                found += _of_outcomes(result, rows)
            case Sent():
                found += _of_signals(result, rows)
            case Saved():
                found += _of_objects(result, rows)
    return found + list(_twice(results))


def _of_outcomes(told: Settled, rows: Rows) -> Iterator[str]:
    written = [
        (entry["who"], entry["after"], entry["before"]["commits"])
        for entry in rows["history"]
        if entry["what"] == "instances" and entry["after"]["commits"] != entry["before"]["commits"]
    ]
    for item in told.batch:
        there = [
            who
            for who, after, _ in written
            if (after["id"], after["commit_epoch"]) == (item.id, item.epoch)
            and item.commits in (None, after["commits"] - 1)
        ]
        mine = [number for who, after, number in written if who == told.node and after["id"] == item.id]
        if item.commits is not None and any(number != item.commits for number in mine):
            yield f"told: outcome {item.commits} of {item.id[-6:]} was written as {mine}"
        if item.id in told.committed.stale:
            if mine:
                yield f"told: outcome of {item.id[-6:]} in epoch {item.epoch} was called stale, and is written"
        elif not there:
            yield f"told: outcome of {item.id[-6:]} in epoch {item.epoch} was called committed, and is not"


def _of_signals(told: Sent, rows: Rows) -> Iterator[str]:
    letters = {letter["id"]: letter["instance"] for letter in rows["signals"]}
    known = {row["id"] for row in rows["instances"]}
    for signal, receipt in zip(told.batch, told.receipts, strict=True):
        if receipt.result in ("delivered", "duplicate"):
            if letters.get(signal.id) != receipt.instance and receipt.instance in known and signal.dedup_key is None:
                yield f"told: signal {signal.name} is with {letters.get(signal.id)}, not with {receipt.instance}"
        elif signal.id in letters:
            yield f"told: signal {signal.name} was called {receipt.result}, and is stored"


def _of_objects(told: Saved, rows: Rows) -> Iterator[str]:
    written = {
        (entry["after"]["type"], entry["after"]["id"], entry["after"]["commit_epoch"], entry["after"]["commits"])
        for entry in rows["history"]
        if entry["what"] == "objects" and entry["after"]["commits"] != entry["before"]["commits"]
    }
    for item in told.batch:
        is_there = (item.type, item.id, item.epoch, item.commit) in written
        if is_there == ((item.type, item.id) in told.lost):
            yield f"told: commit {item.commit} of {item.type}/{item.id} was {'not ' if is_there else ''}called written"


def _twice(results: Sequence[Any]) -> Iterator[str]:
    claims = Counter(
        (claim.id, claim.epoch) for result in results if isinstance(result, Took) for claim in result.claims
    )
    yield from (f"told: {count} were given claim {claim}" for claim, count in claims.items() if count > 1)
    owned = Counter(
        (each.type, each.id, each.epoch)
        for result in results
        if isinstance(result, Made)
        for each in result.activated.owned
    )
    yield from (f"told: {count} were given object {key}" for key, count in owned.items() if count > 1)
    fired = Counter(result.revision for result in results if isinstance(result, Fired) and result.was_first)
    yield from (f"told: {count} fired from revision {number}" for number, count in fired.items() if count > 1)
