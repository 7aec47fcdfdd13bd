"""Planted bugs that the lab must notice: words of a statement are changed, or an index is dropped.

Each is a plain record, so that other programs can plant it, too: `rewritten` gives a mutant's statement.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from outlast._store.statements import Statement
from tests.lab.lab import Lab


class Change(NamedTuple):
    """What is changed of a statement: each place where the pattern is found, and there must be `count` of them."""

    statement: str
    pattern: str
    instead: str
    count: int = 1


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        about: What is wrong then.
        scene, names: Two operations of a scene that show it, or three.
        changes: What is changed of statements.
        drops: Indexes that are missing.
        only: The actor that has the changes; None: all.
    """

    about: str
    scene: str
    names: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    drops: tuple[str, ...] = ()
    only: int | None = None

    @asynccontextmanager
    async def planted(self, lab: Lab) -> AsyncIterator[None]:
        """Puts the bug into the actors' stores and into the database, and takes it out again."""
        sound = [dict(actor.sql) for actor in lab.actors]
        indexes = [await lab.drop_index(index) for index in self.drops]
        for actor in lab.actors:
            if self.only in (None, actor.number):
                for change in self.changes:
                    actor.sql[change.statement] = rewritten(actor.sql, change)
                actor.renamed()
        try:
            yield
        finally:
            for actor, sql in zip(lab.actors, sound, strict=True):
                actor.sql.update(sql)
                actor.renamed()
            await lab.clear()
            for index in indexes:
                await lab.make_index(index)


def rewritten(sql: Mapping[str, Statement], change: Change) -> Statement:
    """The statement with a change. Raises: ValueError: it is no longer as the change knows it."""
    statement = sql[change.statement]
    numbered, count = re.subn(change.pattern, change.instead, statement.numbered)
    if count != change.count:
        raise ValueError(f"statement {change.statement!r} is no longer as this mutant knows it: {count} places")
    return replace(statement, text=re.sub(change.pattern, change.instead, statement.text), numbered=numbered)


_EPOCH = r"\s+AND i\.epoch = o\.epoch"
_NO_LOCK = (r"\s+FOR NO KEY UPDATE OF [ip]", "")

MUTANTS: dict[str, Mutant] = {
    "no-recheck": Mutant(
        "who begins to wait does not look whether the signal has come meanwhile",
        "running",
        ("park", "go"),
        (Change("recheck", r"AND i\.status = 'waiting'", "AND i.status = 'never'"),),
    ),
    "no-target-lock": Mutant(
        "a signal reads its target's row without locking it",
        "running",
        ("park", "go"),
        (Change("find_targets", *_NO_LOCK),),
    ),
    "targets-unordered": Mutant(
        "a batch of signals locks its targets in the order in which they were sent",
        "cousins",
        ("go_both", "go_both_crossed"),
        (Change("find_targets", r"ORDER BY i\.id", "ORDER BY t.n"),),
    ),
    "parents-unordered": Mutant(
        "a batch that ends children locks their parents in an order of its own",
        "cousins",
        ("first_of_both", "second_of_both"),
        (Change("lock_parents", r"ORDER BY p\.id", "ORDER BY p.id DESC"),),
        only=1,
    ),
    "claims-unordered": Mutant(
        "a batch of outcomes locks its rows in an order of its own",
        "cousins",
        ("all_done", "all_done"),
        (Change("lock_ours", r"ORDER BY i\.id", "ORDER BY i.id DESC"),),
        only=1,
    ),
    "families-apart": Mutant(
        "a batch that ends children and writes other outcomes locks the parents last",
        "crossed",
        ("first_and_others_child", "second_and_others_child"),
        (Change("lock_families", r"ORDER BY i\.id", "AND false ORDER BY i.id"),),
    ),
    "tree-unordered": Mutant(
        "who stops a tree locks parents before their children",
        "family",
        ("one_done", "stop_all"),
        (Change("tree", r"ORDER BY t\.depth DESC, i\.id", "ORDER BY t.depth, i.id"),),
    ),
    "no-fence": Mutant(
        "an outcome is written whoever holds the claim by now",
        "running",
        ("done", "take_over"),
        (
            Change("commit", _EPOCH, ""),
            Change("commit_full", _EPOCH, ""),
            Change("lock_ours", _EPOCH, ""),
        ),
    ),
    "no-status-fence": Mutant(
        "an outcome is written also when its claim has been given back",
        "running",
        ("done", "release"),
        (
            Change("commit", r"\s+AND i\.status = 'running'", ""),
            Change("commit_full", r"\s+AND i\.status = 'running'", ""),
            Change("lock_ours", r"\s+AND i\.status = 'running'", ""),
        ),
    ),
    "no-key-lock": Mutant(
        "who admits to a key does not lock it",
        "single",
        ("take_two", "take_two"),
        (Change("lock_keys", r"SELECT pg_advisory_xact_lock\(s\.space, s\.stripe\)", "SELECT s.stripe"),),
    ),
    "no-key-lock-and-no-slot-index": Mutant(
        "who admits to a key does not lock it, and no index keeps slots apart",
        "single",
        ("take_two", "take_two"),
        (Change("lock_keys", r"SELECT pg_advisory_xact_lock\(s\.space, s\.stripe\)", "SELECT s.stripe"),),
        ("instances_slot",),
    ),
    "no-object-fence": Mutant(
        "an object is written whoever owns it by now",
        "owned",
        ("save", "take_over"),
        (
            Change(
                "save_objects",
                r"AND o\.node IS NOT DISTINCT FROM (\$\d+)\s+AND o\.epoch = ANY \(ARRAY\[w\.epoch\]\)",
                r"AND \1::text IS NOT NULL",
            ),
            Change(
                "save_object",
                r"AND o\.node IS NOT DISTINCT FROM (\$\d+) AND o\.epoch = (\$\d+)",
                r"AND \1::text IS NOT NULL",
            ),
        ),
    ),
    "no-look-at-owner": Mutant(
        "an object is taken over from an owner that lives",
        "owned",
        ("activate", "save"),
        (
            Change("activate", r"AND n\.id <> (\$\d+)::text", r"AND n.id = \1::text AND n.id = ''"),
            Change("take_over", r"IS NULL\)\s+RETURNING", "IS NOT NULL) RETURNING"),
        ),
    ),
    "no-round": Mutant(
        "the end of a child of an earlier round counts for the one that its parent waits for",
        "family",
        ("late_done", "one_done"),
        (Change("lower", r"AND p\.spawns = c\.round ", ""),),
    ),
    "counts-twice": Mutant(
        "each child that ends counts twice",
        "family",
        ("one_done", "two_failed"),
        (Change("lower", r"count\(\*\) AS ended", "2 * count(*) AS ended"),),
    ),
    "no-raise": Mutant(
        "a parent does not hear that a child which had ended runs again",
        "family",
        ("retry_failed", "one_done"),
        (Change("raise", r"p\.pending \+ 1", "p.pending"),),
    ),
    "no-number": Mutant(
        "outcomes of one claim are written whatever it has written already",
        "called",
        ("record", "record"),
        (Change("commit_and_record", r"\s+AND \(o\.commits IS NULL OR i\.commits = o\.commits\)", ""),),
    ),
    "free-tokens": Mutant(
        "what has a rate limit takes no tokens",
        "rates",
        ("take", "open", "take"),
        (Change("spend", r"b\.tokens - o\.spent,", "b.tokens - 0 * o.spent,"),),
    ),
    "no-revision": Mutant(
        "a schedule is written whoever has written it meanwhile",
        "ticks",
        ("fire", "fire_two"),
        (Change("change_schedule", r"AND revision = (\$\d+)", r"AND \1::bigint IS NOT NULL"),),
    ),
    "no-alarm-revision": Mutant(
        "an alarm that has rung is finished even if it was set again meanwhile",
        "owned",
        ("rung", "set"),
        (Change("finish_alarms", r"AND a\.revision = ANY \(ARRAY\[w\.revision\]\)", ""),),
    ),
    "no-skip": Mutant(
        "who claims waits for rows that others hold, and takes them from what it has read",
        "due",
        ("take", "take"),
        (Change("take", r"FOR NO KEY UPDATE SKIP LOCKED", ""),),
    ),
    "no-second-look": Mutant(
        "objects past their time are deleted without a second look at who owns them",
        "expired",
        ("prune", "activate"),
        (
            Change("lock_expired_objects", r"FOR UPDATE OF o SKIP LOCKED", ""),
            Change(
                "drop_expired_objects",
                r"(?s)AND COALESCE\(o\.expires_at, 'infinity'\) <= COALESCE\((\$\d+)::timestamptz.*(?=RETURNING)",
                r"AND COALESCE(\1::timestamptz, now()) IS NOT NULL ",
            ),
        ),
    ),
    "deaf-workflow": Mutant(
        "a workflow's child that ends does not tell it",
        "called",
        ("child_done", "park"),
        (Change("find_callers", r"p\.step = 'workflow'", "p.step = 'never'"),),
    ),
}
"""By name."""
