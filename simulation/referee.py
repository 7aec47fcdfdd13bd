"""Watches every change of every row, writes the history, and says what must not be.

Triggers tell it of changes as they happen; what a transaction did counts when it is committed. The history is hashed:
the same seed gives the same hash.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from outlast._kernel.states import FINAL, MOVES
from simulation.database import Database
from simulation.universe import Universe

TAIL: Final = 4000
"""Events that are remembered to be shown."""
_INSTANCE: Final = "id program status epoch commits commit_epoch node concurrency_key slot attempt crashes".split()
_OBJECT: Final = "type id epoch commits node born".split()
_MOVES: Final = frozenset((before, after) for moves in MOVES.values() for before, after in moves.items())

_TRIGGERS: Final = f"""
CREATE TEMP TRIGGER sim_new AFTER INSERT ON outlast_instances BEGIN
    SELECT note('new', {", ".join(f"NEW.{name}" for name in _INSTANCE)}); END;
CREATE TEMP TRIGGER sim_instance AFTER UPDATE OF status, epoch, commits, node, slot, attempt, crashes
    ON outlast_instances BEGIN
    SELECT note('row', {", ".join(f"OLD.{name}, NEW.{name}" for name in _INSTANCE)}); END;
CREATE TEMP TRIGGER sim_gone AFTER DELETE ON outlast_instances BEGIN SELECT note('gone', OLD.id, OLD.status); END;
CREATE TEMP TRIGGER sim_signal AFTER INSERT ON outlast_signals BEGIN
    SELECT note('signal', NEW.instance, NEW.id, NEW.name); END;
CREATE TEMP TRIGGER sim_used AFTER UPDATE OF consumed_us ON outlast_signals BEGIN
    SELECT note('used', NEW.instance, NEW.id, OLD.consumed_us IS NULL); END;
CREATE TEMP TRIGGER sim_journal AFTER INSERT ON outlast_journal BEGIN
    SELECT note('entry', NEW.instance, NEW.key, NEW.kind, NEW.status, NEW.attempt, NEW.value); END;
CREATE TEMP TRIGGER sim_entry AFTER UPDATE ON outlast_journal BEGIN
    SELECT note('rewritten', NEW.instance, NEW.key, OLD.status, NEW.status, OLD.value, NEW.value); END;
CREATE TEMP TRIGGER sim_object AFTER UPDATE ON outlast_objects BEGIN
    SELECT note('object', {", ".join(f"OLD.{name}, NEW.{name}" for name in _OBJECT)}); END;
CREATE TEMP TRIGGER sim_node AFTER INSERT ON outlast_nodes BEGIN SELECT note('node', NEW.id); END;
CREATE TEMP TRIGGER sim_beat AFTER UPDATE ON outlast_nodes BEGIN SELECT note('beat', NEW.id); END;
CREATE TEMP TRIGGER sim_buried AFTER DELETE ON outlast_nodes BEGIN SELECT note('buried', OLD.id); END;
"""

Event = tuple[Any, ...]


class Referee:
    """The history, and the rules that hold at every instant.

    Args:
        slots: How many running steps each concurrency key may have.
        lease_s: Of all nodes.

    Attributes:
        violations: What must not be, each with the instant; empty: all is well.
        retried: Instances that an operator may have sent on after their end.
        commits: Outcomes written so far.
        claims: Claims so far.
        running: By node, how many instances it holds.
    """

    def __init__(self, universe: Universe, database: Database, slots: Mapping[str, int], lease_s: float) -> None:
        self.violations: list[str] = []
        self.retried: set[str] = set()
        self.commits = self.claims = self.events = 0
        self.running: Counter[str] = Counter()
        self.recorded: set[tuple[str, str]] = set()
        self.on_event: Callable[[Event], None] = lambda event: None
        self._universe = universe
        self._database = database
        self._slots = slots
        self._lease_s = lease_s
        self._beats: dict[str, float] = {}
        self._taken: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._under_way: list[Event] = []
        self._tail: deque[tuple[float, Event]] = deque(maxlen=TAIL)
        self._hash = hashlib.blake2b(digest_size=8)
        database.on_commit, database.on_rollback = self._committed, self._under_way.clear

    def attach(self) -> None:
        """Begins to watch; the tables are there."""
        connection = self._database.connection
        connection.create_function("note", -1, self._note)
        connection.executescript(_TRIGGERS)

    @property
    def digest(self) -> str:
        """The hash of all that has happened."""
        return self._hash.hexdigest()

    def tell(self, *event: Any) -> None:
        """Something happened outside the database: a fault, or a step."""
        self._write(event)

    def accuse(self, text: str) -> None:
        """A rule is broken."""
        self.violations.append(f"{self._universe.now:.4f} s: {text}")

    def tail(self, *words: str, count: int = 40) -> list[str]:
        """The last events in which one of the words occurs, or that are faults."""
        chosen = [
            (at, event)
            for at, event in self._tail
            if event[0] == "fault" or any(word == field for word in words for field in event)
        ]
        return [f"{at:9.4f} {' '.join(map(str, event))}" for at, event in chosen[-count:]]

    def _note(self, *event: Any) -> None:
        self._under_way.append(event)

    def _committed(self) -> None:
        events, self._under_way[:] = list(self._under_way), ()
        for event in events:
            self._write(event)
            judge = _JUDGES.get(event[0])
            if judge is not None:
                judge(self, *event[1:])
            self.on_event(event)
        for key in self._touched:  # a claim takes rows first, and puts back what has no slot.
            if self._taken[key] > self._slots.get(key, 1):
                self.accuse(f"{self._taken[key]} steps of the key {key} run at once")
        self._touched.clear()

    def _write(self, event: Event) -> None:
        self.events += 1
        self._tail.append((self._universe.now, event))
        self._hash.update(f"{self._universe.now:.6f} {event}".encode())

    # The rules.

    def _row(self, *fields: Any) -> None:
        before = dict(zip(_INSTANCE, fields[::2], strict=True))
        after = dict(zip(_INSTANCE, fields[1::2], strict=True))
        id, was, now = after["id"], before["status"], after["status"]
        if was != now and (was, now) not in _MOVES:
            self.accuse(f"{id} went from {was} to {now}")
        if was in FINAL and now != was and id not in self.retried:
            self.accuse(f"terminal is not terminal: {id} went from {was} to {now}")
        self._count(before, -1)
        self._count(after, +1)
        if after["epoch"] < before["epoch"] or after["commits"] < before["commits"]:
            self.accuse(f"{id} went back: epoch {before['epoch']} to {after['epoch']}, commits to {after['commits']}")
        if now == "running" and was == "ready":
            self.claims += 1
            if after["epoch"] != before["epoch"] + 1:
                self.accuse(f"{id} was claimed and its epoch went from {before['epoch']} to {after['epoch']}")
        if after["commits"] != before["commits"]:
            self._commit(id, before, after)
        elif was == "running" != now:
            self._given_back(id, before, after)
        elif after["attempt"] > before["attempt"] or after["crashes"] > before["crashes"]:
            self.accuse(f"{id} counts an attempt or a crash more, and nothing has happened to it")

    def _commit(self, id: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.commits += 1
        issuer = self._database.issuer
        if after["commits"] != before["commits"] + 1:
            self.accuse(f"{id}: {after['commits'] - before['commits']} commits at once")
        if before["status"] != "running":
            self.accuse(f"{id} was committed while {before['status']}")
        elif issuer is not None and before["node"] not in issuer.world.node_ids:
            self.accuse(f"{id} was committed by {issuer.name}, which does not hold it")

    def _given_back(self, id: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """A claim ended without an outcome: by whoever held it, or since its node is gone; or it was cancelled."""
        issuer, node = self._database.issuer, before["node"]
        more = after["crashes"] - before["crashes"]
        if after["attempt"] > before["attempt"]:
            self.accuse(f"{id} came to no outcome, and that counts as a failed attempt")
        if after["status"] == "cancelled" or after["epoch"] != before["epoch"]:
            return
        if issuer is not None and node in issuer.world.node_ids:
            # Buried by others meanwhile, a node's own claims are lost like those of others.
            if more and node in self._beats:
                self.accuse(f"{id} was given back by {issuer.name}, and that counts as a crash")
        elif node in self._beats:
            self.accuse(f"{id} was taken from the node {node}, which is alive")
        elif more != 1:
            self.accuse(f"{id} was taken from a dead node, and {more} crashes are counted for it")

    def _beat(self, node: str) -> None:
        self._beats[node] = self._universe.now

    def _buried(self, node: str) -> None:
        issuer, beat_s = self._database.issuer, self._beats.pop(node, None)
        is_own = issuer is not None and node in issuer.world.node_ids
        if beat_s is not None and not is_own and self._universe.now - beat_s < self._lease_s:
            self.accuse(f"{node} was declared dead {self._universe.now - beat_s:.3f} s after its last sign of life")

    def _count(self, row: dict[str, Any], change: int) -> None:
        if row["status"] != "running":
            return
        self.running[row["node"]] += change
        if key := row["concurrency_key"]:
            self._taken[key] += change
            self._touched.add(key)

    def _new(self, *fields: Any) -> None:
        self._count(dict(zip(_INSTANCE, fields, strict=True)), +1)

    def _used(self, instance: str, id: str, is_first: int) -> None:
        if not is_first:
            self.accuse(f"signal {id} of {instance} was used up twice")

    def _entry(self, instance: str, key: str, kind: str, status: str, attempt: int, value: str | None) -> None:
        if status == "done":
            self.recorded.add((instance, key))

    def _rewritten(self, instance: str, key: str, was: str, now: str, old: str | None, new: str | None) -> None:
        if was == "done" and (now != was or old != new) and instance not in self.retried:
            self.accuse(f"{key} of {instance} was recorded, and was recorded again: {old} then {new}")
        if now == "done":
            self.recorded.add((instance, key))

    def _object(self, *fields: Any) -> None:
        before = dict(zip(_OBJECT, fields[::2], strict=True))
        after = dict(zip(_OBJECT, fields[1::2], strict=True))
        who = f"{after['type']} {after['id']}"
        if after["epoch"] < before["epoch"]:
            self.accuse(f"{who} went back from epoch {before['epoch']} to {after['epoch']}")
        issuer = self._database.issuer
        is_owner = issuer is not None and before["node"] in issuer.world.node_ids
        if before["node"] in self._beats and after["node"] != before["node"] and not is_owner:
            self.accuse(f"{who} was taken from the node {before['node']}, which is alive")
        if after["commits"] > before["commits"]:
            self.commits += 1
            if issuer is not None and not is_owner:
                self.accuse(f"{who} was written by {issuer.name}, which does not own it")


_JUDGES: Final[Mapping[str, Callable[..., None]]] = {
    "row": Referee._row,
    "new": Referee._new,
    "node": Referee._beat,
    "beat": Referee._beat,
    "buried": Referee._buried,
    "used": Referee._used,
    "entry": Referee._entry,
    "rewritten": Referee._rewritten,
    "object": Referee._object,
}
