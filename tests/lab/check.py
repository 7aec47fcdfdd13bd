"""What must hold of the rows, whatever has been done to them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from outlast._kernel.limits import limit_name
from outlast._kernel.states import FINAL, MOVES, RUNNING, WAITING

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

_LEGAL = {(before, after) for move in MOVES.values() for before, after in move.items()}


def violations(rows: Rows) -> list[str]:
    """What is wrong with these rows, by table, and with their `history` if they have one."""
    return [found for rule in RULES for found in rule(rows)]


def statuses(rows: Rows) -> Iterator[str]:
    """Each row's columns fit its status."""
    for row in rows["instances"]:
        status, paused = row["status"], row["paused_at"] is not None
        wrong = {
            "has a node, or lacks one": (status == RUNNING) != (row["node"] is not None),
            "has ended, or has not": (status in FINAL) != (row["finished_at"] is not None),
            "is paused": paused and (status == "ready" or status in FINAL),
            "is blocked on nothing": status == "blocked" and row["blocked_on"] is None and not paused,
            "stands at a gate": row["blocked_on"] is not None and (status != "blocked" or paused),
            "has a slot": row["slot"] is not None and status != RUNNING,
            "has a key and no slot": status == RUNNING and row["concurrency_key"] is not None and row["slot"] is None,
            "waits for nobody": status == WAITING
            and row["wake_at"] is None
            and row["pending"] is None
            and not json.loads(row["awaits"] or "[]"),
            "was committed by a claim to come": row["commit_epoch"] > row["epoch"],
        }
        for what, is_so in wrong.items():
            if is_so:
                yield f"status: {_shown(row)} {what}"


def wakeups(rows: Rows) -> Iterator[str]:
    """Nobody waits for a signal that is there."""
    unread = {(letter["instance"], letter["name"]) for letter in rows["signals"] if letter["consumed_at"] is None}
    for row in rows["instances"]:
        if row["status"] == WAITING:
            for name in json.loads(row["awaits"] or "[]"):
                if (row["id"], name) in unread:
                    yield f"lost wake-up: {_shown(row)} waits for {name!r}, which is there"


def slots(rows: Rows) -> Iterator[str]:
    """No key has more running than slots; no slot is held twice."""
    held = Counter((row["concurrency_key"], row["slot"]) for row in rows["instances"] if row["slot"] is not None)
    running = Counter(key for key, _ in held.elements())
    for (key, slot), count in held.items():
        if count > 1:
            yield f"slots: slot {slot} of {key!r} is held {count} times"
    for key, count in running.items():
        most = max(_declared(rows["nodes"], rows["gates"], key), _declared_before(rows, key))
        if count > most:
            yield f"slots: {count} of {key!r} run, which has {most} slots"


def _declared(nodes: Sequence[Row], gates: Sequence[Row], key: str) -> int:
    """The slots of a key: the lowest that a living node says."""
    living = {node["id"] for node in nodes}
    said = [gate["slots"] for gate in gates if gate["name"] == limit_name(key) and gate["node"] in living]
    return min(said, default=1)


def _declared_before(rows: Rows, key: str) -> int:
    """The same at the beginning, where that is known: what was let in under it may still run."""
    return _declared(rows.get("saved_nodes", ()), rows.get("saved_gates", ()), key)


def keys(rows: Rows) -> Iterator[str]:
    """A correlation key has one holder, a child one row."""
    holders = Counter(
        row["correlation_key"]
        for row in rows["instances"]
        if row["correlation_key"] is not None and f",{row['status']}," in (row["correlation_scope"] or "")
    )
    yield from (f"keys: {key!r} has {count} holders" for key, count in holders.items() if count > 1)
    born = Counter(
        (row["parent"], row["round"], row["child"]) for row in rows["instances"] if row["parent"] is not None
    )
    yield from (f"children: {place} is there {count} times" for place, count in born.items() if count > 1)


def barriers(rows: Rows) -> Iterator[str]:
    """A parent waits for exactly those children of its round that have not ended."""
    left = Counter(
        (row["parent"], row["round"])
        for row in rows["instances"]
        if row["parent"] is not None and row["finished_at"] is None
    )
    for row in rows["instances"]:
        if row["pending"] is not None and row["pending"] != left[row["id"], row["spawns"]]:
            yield f"barrier: {_shown(row)} waits for {row['pending']} of {left[row['id'], row['spawns']]} children"


def orphans(rows: Rows) -> Iterator[str]:
    """Nothing is left of instances that are gone."""
    known = {row["id"] for row in rows["instances"]}
    for table in ("signals", "journal", "logs", "tags", "acts"):
        for row in rows[table]:
            if row["instance"] not in known:
                yield f"orphan: a row of {table} belongs to {row['instance']}, which is gone"


def objects(rows: Rows) -> Iterator[str]:
    """What is deleted is nobody's; nothing was written by an ownership to come."""
    for row in rows["objects"]:
        if row["state"] is None and row["node"] is not None:
            yield f"object: {row['type']}/{row['id']} is deleted and owned"
        if row["commit_epoch"] > row["epoch"]:
            yield f"object: {row['type']}/{row['id']} was written by an ownership to come"


def buckets(rows: Rows) -> Iterator[str]:
    """Nobody takes tokens that are not there."""
    for row in rows["buckets"]:
        if row["tokens"] < -1e-6:
            yield f"tokens: {row['rate_limit']!r} has {row['tokens']}"


def moves(rows: Rows) -> Iterator[str]:
    """Every change of a status is a move; claims and commits count as they should."""
    outcomes: Counter[tuple[str, int]] = Counter()
    for before, after, _ in _changes(rows, "instances"):
        was, status = before["status"], after["status"]
        # A limit that came open between two statements of one transaction is two moves.
        if was != status and (was, status) not in _LEGAL:
            yield f"move: {_shown(after)} was {was}"
        claimed = (was, status) == ("ready", RUNNING)
        if after["epoch"] - before["epoch"] != (
            1 if claimed or (was != status == "cancelled" and not _told(before, after)) else 0
        ):
            yield f"epoch: {_shown(after)} was {was} in epoch {before['epoch']}"
        written = after["commits"] - before["commits"]
        if written not in (0, 1):
            yield f"commits: {_shown(after)} went from {before['commits']} to {after['commits']}"
        if written:
            if was != RUNNING or after["commit_epoch"] != before["epoch"] or after["epoch"] != before["epoch"]:
                yield f"fence: {_shown(after)} was written by {after['commit_epoch']} while {was} in {before['epoch']}"
            if status != RUNNING:
                outcomes[after["id"], after["epoch"]] += 1
    yield from (f"twice: claim {claim} has {count} outcomes" for claim, count in outcomes.items() if count > 1)


def _told(before: Row, after: Row) -> bool:
    """Whether a change is an outcome's, not an operator's."""
    return bool(after["commits"] != before["commits"])


def owners(rows: Rows) -> Iterator[str]:
    """An object is written by its owner, and taken over from the dead only."""
    for before, after, entry in _changes(rows, "objects"):
        name = f"{after['type']}/{after['id']}"
        if after["epoch"] not in (before["epoch"], before["epoch"] + 1):
            yield f"owner: {name} went from epoch {before['epoch']} to {after['epoch']}"
        if after["commits"] != before["commits"] and (
            before["node"] is None
            or after["epoch"] != before["epoch"]
            or after["commit_epoch"] != before["epoch"]
            or after["commits"] != before["commits"] + 1
        ):
            yield f"owner: {name} of {before['node']} in epoch {before['epoch']} was written by {after['commit_epoch']}"
        if after["node"] is not None and after["node"] != before["node"]:
            if after["epoch"] != before["epoch"] + 1:
                yield f"owner: {name} changed hands within epoch {before['epoch']}"
            if before["node"] is not None and entry["alive"]:
                yield f"owner: {name} was taken from {before['node']}, which lives"


def revisions(rows: Rows) -> Iterator[str]:
    """A schedule's revision changes with every write, and its ticks are decided once."""
    for before, after, _ in _changes(rows, "schedules"):
        if after["revision"] != before["revision"] + 1:
            yield f"schedule: revision {before['revision']} became {after['revision']}"
        if after["decided_at"] < before["decided_at"]:
            yield f"schedule: ticks since {after['decided_at']} would be decided again"


def _changes(rows: Rows, table: str) -> Iterator[tuple[Row, Row, Row]]:
    for entry in rows.get("history", ()):
        if entry["what"] == table:
            yield entry["before"], entry["after"], entry


def _shown(row: Row) -> str:
    return f"{row['program']} {row['id'][-6:]} ({row['status']}, epoch {row['epoch']})"


RULES: Sequence[Callable[[Rows], Iterator[str]]] = (
    statuses,
    wakeups,
    slots,
    keys,
    barriers,
    orphans,
    objects,
    buckets,
    moves,
    owners,
    revisions,
)
