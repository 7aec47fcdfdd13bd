"""Planted bugs, to see whether the crash runs notice. Each is put into worker processes at run time."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from outlast import Engine
from outlast._kernel import limits
from outlast._kernel.limits import Verdict
from outlast._kernel.program import Program
from outlast._kernel.program import Resident as Stayer
from outlast._model import Beat, Claim, Committed, NewCall, ObjectCommit, Settlement
from outlast._runtime import lane, residents
from outlast._runtime.node import Node
from outlast._runtime.objects.items import Reply
from outlast._runtime.objects.resident import Resident
from outlast._runtime.residents import Residents
from outlast._runtime.upkeep import Reaper
from outlast._store.contract import Journal
from outlast._store.postgres import effects as postgres_effects
from outlast._store.postgres import limits as postgres_limits
from outlast._store.sqlite import effects as sqlite_effects
from outlast._store.sqlite import limits as sqlite_limits
from outlast.errors import StoreUnavailable

_FENCE = re.compile(
    r"\s+AND [\w.\"]+\.epoch = o\.epoch AND [\w.\"]+\.status = 'running'"
    r"(\s+AND \(o\.commits IS NULL OR [\w.\"]+\.commits = o\.commits\))?"
)
_SAVE_FENCE = re.compile(
    r"AND o\.node IS NOT DISTINCT FROM (:node|\$\d+)\s+AND o\.epoch = ANY \(ARRAY\[w\.epoch\]\)"
    r" AND o\.commits < w\.commit"
)
_LONE_FENCE = re.compile(
    r"AND \S*node (?:=|IS NOT DISTINCT FROM) (:node|\$\d+) AND \S*epoch = (?::epoch|\$\d+)"
    r" AND \S*commits < (?::commit|\$\d+)"
)
_LITE_SAVE_FENCE = re.compile(r"AND \+\S+\.node = (:node)\s+AND \S+\.epoch = w\.epoch AND \S+\.commits < w\.number")
_LITE_FIND_FENCE = re.compile(
    r"WHERE o\.node = (:node) AND o\.epoch = json_extract\(w\.value, '\$\[2\]'\) AND o\.commits < [^;]*\)"
)
_CHILDREN_ENDED = re.compile(r"count\(\*\) AS ended")


def no_fence(engine: Engine) -> None:
    """An outcome, of a job or of a machine's step, is written whoever holds the claim by now."""
    for name in ("commit", "commit_full"):
        _rewrite(engine, name, _FENCE, "")


def _rewrite(engine: Engine, name: str, pattern: re.Pattern[str], instead: str, *, noun: str = "claims") -> None:
    """Changes the one place of a statement where the pattern is found."""
    sql: dict[str, Any] = getattr(engine._store, noun)._desk.sql
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

    lane.hand_notes = hand_some  # type: ignore[assignment]


def trusts_memory(engine: Engine) -> None:
    """Code that has stayed in memory goes on whatever has happened to its instance meanwhile."""

    def take(stayed: Residents, claim: Claim, program: Program) -> Stayer | None:
        place = stayed._sure.pop(claim.id, None)
        if place is None:
            return None
        claim.left = dict.fromkeys(place.resident.timed, 0.0)
        return place.resident

    residents._is_next = lambda claim, place: True
    Residents.take = take  # type: ignore[assignment,method-assign]


def no_object_fence(engine: Engine) -> None:
    """What an object's handlers left is written whoever owns it by now.

    It is on its way for a moment, so that a process that is frozen has something on its way: what it has only gathered
    it would not send afterwards, since its clock tells it that it is late.
    """
    objects: Any = engine._store.objects
    save = objects.save

    async def save_late(node: str, batch: Sequence[ObjectCommit]) -> Any:
        await asyncio.sleep(0.02)
        return await save(node, batch)

    objects.save = save_late
    if engine._store.dialect == "sqlite":
        _rewrite(engine, "find_unsaved", _LITE_FIND_FENCE, r"WHERE \1 IS NOT NULL", noun="objects")
        _rewrite(engine, "save_objects", _LITE_SAVE_FENCE, r"AND \1 IS NOT NULL", noun="objects")
        _rewrite(engine, "save_object", _LONE_FENCE, r"AND \1 IS NOT NULL", noun="objects")
    else:
        _rewrite(engine, "save_objects", _SAVE_FENCE, r"AND \1::text IS NOT NULL", noun="objects")
        _rewrite(engine, "save_object", _LONE_FENCE, r"AND \1::text IS NOT NULL", noun="objects")


def always_sure(engine: Engine) -> None:
    """Reads are answered, and nobody asks whether this node's lease is good."""
    Node.is_sure = property(lambda self: True)  # type: ignore[assignment, method-assign]


def hasty_answers(engine: Engine) -> None:
    """Callers of the same process get their answers before what they say is committed."""

    async def reply(self: Resident, reply: Reply) -> None:
        reply.give()

    Resident._reply = reply  # type: ignore[method-assign]


def forgets_keys(engine: Engine) -> None:
    """Calls are stored without their idempotency keys."""
    calls: Any = engine._store.calls
    post = calls.post

    async def post_plain(batch: Sequence[NewCall]) -> Any:
        return await post([structs.replace(call, key=None) for call in batch])

    calls.post = post_plain


def false_no(engine: Engine) -> None:
    """What is being committed when its object is lost is told not to have happened."""
    leave = Resident._leave

    def leave_certainly(self: Resident, why: Any, told: Any = None, *, is_certain: bool = False) -> None:
        leave(self, why, told, is_certain=True)

    Resident._leave = leave_certainly  # type: ignore[method-assign]


def no_revision(engine: Engine) -> None:
    """An alarm that has rung is finished even if it was set again meanwhile."""
    if engine._store.dialect == "sqlite":
        _rewrite(engine, "finish_alarms", re.compile(r"name, revision\) IN"), "name, name) IN", noun="alarms")
        _rewrite(engine, "finish_alarms", re.compile(r"'\$\[3\]'"), "'$[2]'", noun="alarms")
    else:
        pattern = re.compile(r"AND a\.revision = ANY \(ARRAY\[w\.revision\]\)")
        _rewrite(engine, "finish_alarms", pattern, "", noun="alarms")


def half_a_commit(engine: Engine) -> None:
    """Every fifth commit of objects loses the one-way calls that go out with it."""
    objects: Any = engine._store.objects
    save, count = objects.save, itertools.count(1)

    async def save_some(node: str, batch: Sequence[ObjectCommit]) -> Any:
        kept = batch if next(count) % 5 else [structs.replace(item, sends=[]) for item in batch]
        return await save(node, kept)

    objects.save = save_some


def blind_retry(engine: Engine) -> None:
    """A commit whose reply was lost is made again, and nobody asks whether it has been made, or whose claim it is."""
    claims: Any = engine._store.claims
    desk, commit = claims._desk, claims.commit
    sql = dict(desk.sql)
    for name in ("commit", "commit_full"):
        text = sql[name]
        sql[name] = replace(text, text=_FENCE.sub("", text.text), numbered=_FENCE.sub("", text.numbered))
    blind: Any = type(claims)(replace(desk, sql=sql))
    lost: set[str] = set()

    async def commit_blindly(batch: Sequence[Settlement]) -> Committed:
        again = any(item.id in lost for item in batch)
        try:
            committed: Committed = await (blind.commit if again else commit)(batch)
        except StoreUnavailable:
            lost.update(item.id for item in batch)
            raise
        lost.difference_update(item.id for item in batch)
        return committed

    claims.commit = commit_blindly


def local_commit(engine: Engine) -> None:
    """Commits are durable on the primary alone, however many replicas should have them first."""
    store: Any = engine._store
    links = store._links
    options = links.options

    def hasty(role: str, settings: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = options(role, settings)
        return {**made, "server_settings": {**made["server_settings"], "synchronous_commit": "local"}}

    links.options = hasty


def wall_clock(engine: Engine) -> None:
    """How long a node is silent is taken from the wall clock."""
    seen: dict[str, tuple[int, float]] = {}

    async def watch(self: Reaper, beat: Beat, now: float) -> None:
        number, since = seen.get(beat.node, (-1, 0.0))
        if number != beat.beat:
            seen[beat.node] = (beat.beat, time.time())
        elif time.time() - since > beat.lease_s and beat.node != self._own_node():
            if await self._leases.bury(beat.node, beat.beat):
                self._events.emit("node.died", node=beat.node)

    Reaper._watch = watch  # type: ignore[method-assign]


def no_sync(engine: Engine) -> None:
    """Commits on SQLite are acknowledged before they are on the disk."""
    writer: Any = engine._store._writer  # type: ignore[attr-defined]
    connect = writer._connect

    def connect_lazily() -> Any:
        connection = connect()
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    writer._connect = connect_lazily


def any_version(engine: Engine) -> None:
    """What is newer than the process is run by the code that it has."""
    claims: Any = engine._store.claims
    take = claims.take

    async def take_newer(queue: str, node: str, known: Sequence[str], *values: Any) -> Any:
        names = {text.partition("@")[0] for text in known}
        found = await take(queue, node, sorted({*known, *(f"{name}@2" for name in names)}), *values)
        for place, claim in enumerate(found):
            if f"{claim.program}@{claim.version}" not in known:
                found[place] = structs.replace(claim, version=1)
        return found

    claims.take = take_newer


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
    "no-object-fence": no_object_fence,
    "always-sure": always_sure,
    "hasty-answers": hasty_answers,
    "forgets-keys": forgets_keys,
    "false-no": false_no,
    "no-revision": no_revision,
    "half-a-commit": half_a_commit,
    "blind-retry": blind_retry,
    "local-commit": local_commit,
    "wall-clock": wall_clock,
    "no-sync": no_sync,
    "any-version": any_version,
}
