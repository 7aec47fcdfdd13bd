"""Objects: who owns them, what is told to callers, and their alarms."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, simulation, suite

OBJECTS: Final = "_store/sqlite/sql/objects.sql"
ALARMS: Final = "_store/sqlite/sql/alarms.sql"
POSTED: Final = "_store/sqlite/sql/calls.sql"
RESIDENT: Final = "_runtime/objects/resident.py"

BUGS: Final = (
    Bug(
        "save-without-epoch",
        "The state of an object is written by whoever has owned it once.",
        "O1",
        OBJECTS,
        "+{schema}_objects.node = :node\n"
        "    AND {schema}_objects.epoch = w.epoch AND {schema}_objects.commits < w.number;",
        "{schema}_objects.commits < w.number;",
        (simulation("counters"),),
    ),
    Bug(
        "save-counted-by-nobody",
        "The state of an object is written again by a repetition that comes late.",
        "O1",
        OBJECTS,
        "    AND {schema}_objects.epoch = w.epoch AND {schema}_objects.commits < w.number;",
        "    AND {schema}_objects.epoch = w.epoch AND {schema}_objects.commits <= w.number;",
        (suite("tests/store/contract/test_objects.py", "-k", "sqlite"),),
    ),
    Bug(
        "effects-of-a-refused-save",
        "Alarms are moved and calls answered for a state that was not written.",
        "O2",
        OBJECTS,
        "WHERE o.node = :node AND o.epoch = json_extract(w.value, '$[2]') "
        "AND o.commits < json_extract(w.value, '$[3]');",
        "WHERE o.epoch > 0;",
        (simulation("counters"), suite("tests/store/contract/test_objects.py", "-k", "sqlite")),
    ),
    Bug(
        "taken-from-the-living",
        "An object is taken over from an owner that lives.",
        "O1",
        OBJECTS,
        "WHERE o.node IS NULL OR o.node = excluded.node OR NOT EXISTS "
        "(SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node)",
        "WHERE o.epoch > 0",
        (simulation("counters"),),
    ),
    Bug(
        "taken-under-the-same-epoch",
        "Who takes an object over does not raise its epoch.",
        "O1",
        OBJECTS,
        "SET node = excluded.node, epoch = o.epoch + 1,",
        "SET node = excluded.node, epoch = o.epoch,",
        (simulation("counters"), suite("tests/store/contract/test_objects.py", "-k", "sqlite")),
    ),
    Bug(
        "answer-before-save",
        "A caller is answered before what its call has changed is durable.",
        "O2",
        RESIDENT,
        "        if self.pending is not None:\n            self.pending.replies.append(reply)\n",
        "        if self.pending is not None:\n            reply.give()\n",
        (simulation("counters"),),
    ),
    Bug(
        "late-answer-at-once",
        "A read that came behind a commit under way is answered before that is durable.",
        "O2",
        RESIDENT,
        "            self.in_flight.late.append(reply)\n",
        "            reply.give()\n",
        (simulation("counters"), suite("tests/objects/test_races.py")),
    ),
    Bug(
        "read-without-sureness",
        "A read is answered by a node that may have lost the object.",
        "O3",
        RESIDENT,
        "        if not self._house.is_sure() and not await self._house.confirm(self):\n",
        "        if not self._house.is_sure() and self.gone:\n",
        (simulation("counters"), suite("tests/objects/test_races.py")),
    ),
    Bug(
        "answer-without-sureness",
        "A call that changed nothing is answered by a node that may have lost the object.",
        "O3",
        RESIDENT,
        "        elif self._house.is_sure() or await self._house.confirm(self):\n",
        "        elif not self.gone:\n",
        (simulation("counters"), suite("tests/objects/test_races.py")),
    ),
    Bug(
        "failed-handler-leaves-state",
        "What a handler has changed before it raised stays in memory, and is written with the next call.",
        "O4",
        RESIDENT,
        "        body.restore(self._text)\n        self._house.failed",
        "        self._house.failed",
        (simulation("counters"),),
    ),
    Bug(
        "idempotency-key-forgotten",
        "A call made again under its key happens again.",
        "O5",
        POSTED,
        "json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), "
        "json_extract(value, '$[7]'),\n"
        "    json_extract(value, '$[9]')",
        "json_extract(value, '$[4]'), json_extract(value, '$[5]'), NULL, json_extract(value, '$[7]'),\n"
        "    json_extract(value, '$[9]')",
        (simulation("counters"),),
    ),
    Bug(
        "answered-twice",
        "An answer replaces the one that is there.",
        "O5",
        POSTED,
        "{schema}_calls.id = w.id\n    AND +answered_us IS NULL;",
        "{schema}_calls.id = w.id;",
        (suite("tests/store/contract/test_calls.py", "-k", "sqlite"),),
    ),
    Bug(
        "listed-and-served-again",
        "A call that was answered while it was being listed is served again.",
        "O5",
        RESIDENT,
        "            return item.seen > self.owned_since and self._house.monotonic() < item.until\n",
        "            return self._house.monotonic() < item.until\n",
        (suite("tests/objects/test_races.py"),),
    ),
    Bug(
        "alarm-gone-before-its-state",
        "An alarm is deleted as it begins to ring: what it does is lost with its process.",
        "O6",
        RESIDENT,
        "            self._moved(item, after_ring(item.alarm, self._house.now_us()))",
        "            self._put_off().moved.append(after_ring(item.alarm, self._house.now_us()))",
        (simulation("counters"), suite("tests/objects/test_alarms.py")),
    ),
    Bug(
        "alarm-never-done",
        "An alarm that has rung stays, and rings again.",
        "O6",
        ALARMS,
        "DELETE FROM {schema}_alarms\nWHERE (type, id, name, revision) IN (",
        "DELETE FROM {schema}_alarms\nWHERE attempt > 0 AND (type, id, name, revision) IN (",
        (simulation("counters"),),
    ),
    Bug(
        "alarm-revision-ignored",
        "An alarm that was set again while it rang is deleted as done.",
        "O6",
        ALARMS,
        "    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),\n"
        "        json_extract(value, '$[3]')\n    FROM json_each(:finished));",
        "    SELECT a.type, a.id, a.name, a.revision FROM json_each(:finished) JOIN {schema}_alarms AS a\n"
        "        ON a.type = json_extract(value, '$[0]') AND a.id = json_extract(value, '$[1]')\n"
        "            AND a.name = json_extract(value, '$[2]'));",
        (suite("tests/store/contract/test_alarms.py", "-k", "sqlite"),),
    ),
    Bug(
        "stopped-and-not-released",
        "An object that was stopped is still owned by its node.",
        "O7",
        RESIDENT,
        "            if not self.gone:\n"
        "                await self._house.release(self, is_done=item.call is not None)\n",
        "",
        (suite("tests/objects/test_lifecycle.py"),),
    ),
    Bug(
        "objects-kept-by-the-closed",
        "An engine that is closed gives its objects to nobody.",
        "O7",
        "_runtime/objects/keeper.py",
        "            if await self._store.objects.release(node, None):\n",
        "            if not node:\n",
        (suite("tests/objects/test_lifecycle.py"),),
    ),
)
