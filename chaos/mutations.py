"""Planted bugs, to see whether the crash runs notice. Each is put into worker processes at run time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from outlast import Engine
from outlast._kernel import limits
from outlast._kernel.limits import Verdict
from outlast._kernel.program import Program, Resident
from outlast._model import Beat, Claim, Committed, Settlement
from outlast._runtime import lane, residents
from outlast._runtime.residents import Residents
from outlast._runtime.upkeep import Reaper
from outlast._store.contract import Journal
from outlast._store.postgres import effects as postgres_effects
from outlast._store.postgres import limits as postgres_limits
from outlast._store.sqlite import effects as sqlite_effects
from outlast._store.sqlite import limits as sqlite_limits

_FENCE = re.compile(
    r"\s+AND [\w.\"]+\.epoch = o\.epoch AND [\w.\"]+\.status = 'running'"
    r"(\s+AND \(o\.commits IS NULL OR [\w.\"]+\.commits = o\.commits\))?"
)
_CHILDREN_ENDED = re.compile(r"count\(\*\) AS ended")


def no_fence(engine: Engine) -> None:
    """An outcome, of a job or of a machine's step, is written whoever holds the claim by now."""
    for name in ("commit", "commit_full"):
        _rewrite(engine, name, _FENCE, "")


def _rewrite(engine: Engine, name: str, pattern: re.Pattern[str], instead: str) -> None:
    """Changes the one place of a statement where the pattern is found."""
    sql: dict[str, Any] = engine._store.claims._desk.sql  # type: ignore[attr-defined]
    text, count = pattern.subn(instead, sql[name].text)
    if count != 1:
        raise RuntimeError(f"statement {name!r} is no longer as this mutation knows it: mend it")
    sql[name] = replace(sql[name], text=text, numbered=pattern.sub(instead, sql[name].numbered))


def bury_at_once(engine: Engine) -> None:
    """The reaper takes every other node for dead, without watching it for a lease."""

    async def watch(self: Reaper, beat: Beat, now: float) -> None:
        if beat.node != self._own_node() and await self._leases.bury(beat.node, beat.beat):
            self._events.emit("node.died", node=beat.node)

    Reaper._watch = watch  # type: ignore[method-assign]


def no_reclaim(engine: Engine) -> None:
    """What dead nodes held is never given back."""

    async def reclaim(self: Reaper, *, overdue: bool) -> None:
        """Nothing."""

    Reaper._reclaim = reclaim  # type: ignore[method-assign]


def false_word(engine: Engine) -> None:
    """Every tenth batch of outcomes is called committed, and is not."""
    claims: Any = engine._store.claims
    commit, count = claims.commit, itertools.count(1)

    async def promise(batch: Sequence[Settlement]) -> Committed:
        return Committed([], []) if next(count) % 10 == 0 else await commit(batch)

    claims.commit = promise


def no_recheck(engine: Engine) -> None:
    """A step that begins to wait for a signal does not look whether it came while the step ran."""

    def look(*values: object) -> set[str]:
        return set()

    async def look_later(*values: object) -> set[str]:
        return set()

    sqlite_effects._recheck = look  # type: ignore[assignment]
    postgres_effects._recheck = look_later  # type: ignore[assignment]


def double_decrement(engine: Engine) -> None:
    """Each child that ends is counted twice by its parent."""
    sqlite = engine._store.dialect == "sqlite"
    _rewrite(engine, "find_lowered" if sqlite else "lower", _CHILDREN_ENDED, "2 * count(*) AS ended")


def no_slot_constraint(engine: Engine) -> None:
    """What has a concurrency key runs without a slot: nobody sees how many of the key run already."""
    _judge(lambda verdict: verdict._replace(slots=dict.fromkeys(verdict.slots)))


def free_tokens(engine: Engine) -> None:
    """What has a rate limit takes no tokens."""
    _judge(lambda verdict: verdict._replace(spent={}))


def _judge(falsify: Callable[[Verdict], Verdict]) -> None:
    """Both stores ask this module's rule who may run; in this process they hear something else from now on."""

    def decide(*values: Any) -> Verdict:
        return falsify(limits.decide(*values))

    for store in (sqlite_limits, postgres_limits):
        store.decide = decide  # type: ignore[attr-defined]


def forgets_journal(engine: Engine) -> None:
    """Every fifth claim of workflows is run as if these had recorded nothing."""
    hand_notes, count = lane.hand_notes, itertools.count(1)

    async def hand_some(journal: Journal, taken: Iterable[Claim], stayed: Residents) -> None:
        await hand_notes(journal, [claim for claim in taken if next(count) % 5], stayed)

    lane.hand_notes = hand_some


def trusts_memory(engine: Engine) -> None:
    """Code that has stayed in memory goes on whatever has happened to its instance meanwhile."""

    def take(stayed: Residents, claim: Claim, program: Program) -> Resident | None:
        place = stayed._sure.pop(claim.id, None)
        if place is None:
            return None
        claim.left = dict.fromkeys(place.resident.timed, 0.0)
        return place.resident

    residents._is_next = lambda claim, place: True  # type: ignore[assignment]
    Residents.take = take  # type: ignore[method-assign]


MUTATIONS: dict[str, Callable[[Engine], None]] = {
    "no-fence": no_fence,
    "bury-at-once": bury_at_once,
    "no-reclaim": no_reclaim,
    "false-word": false_word,
    "no-recheck": no_recheck,
    "double-decrement": double_decrement,
    "no-slot-constraint": no_slot_constraint,
    "free-tokens": free_tokens,
    "forgets-journal": forgets_journal,
    "trusts-memory": trusts_memory,
}
