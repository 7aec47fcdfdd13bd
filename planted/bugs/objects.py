"""Objects: who owns them, what is told to callers, and their alarms."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, contract, simulation, suite

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
        (contract("objects", "test_only_the_owner_saves_and_only_under_its_epoch", "sqlite"),),
    ),
    Bug(
        "effects-of-a-refused-save",
        "Alarms are moved and calls answered for a state that was not written.",
        "O2",
        OBJECTS,
        "WHERE o.node = :node AND o.epoch = json_extract(w.value, '$[2]') "
        "AND o.commits < json_extract(w.value, '$[3]');",
        "WHERE o.epoch > 0;",
        (
            simulation("counters"),
            contract("alarms", "test_a_stale_commit_moves_sets_and_cancels_nothing", "sqlite"),
        ),
    ),
    Bug(
        "taken-from-the-living",
        "An object is taken over from an owner that lives.",
        "O1",
        OBJECTS,
        "WHERE o.node IS NULL OR o.node = excluded.node OR NOT EXISTS "
        "(SELECT 1 FROM {schema}_nodes AS n WHERE n.id = o.node)",
        "WHERE o.epoch > 0",
        (contract("objects", "test_another_living_owner_keeps_it", "sqlite"),),
    ),
    Bug(
        "taken-under-the-same-epoch",
        "Who takes an object over does not raise its epoch.",
        "O1",
        OBJECTS,
        "SET node = excluded.node, epoch = o.epoch + 1,",
        "SET node = excluded.node, epoch = o.epoch,",
        (
            simulation("counters"),
            contract("objects", "test_who_wants_what_it_owns_makes_its_own_old_writes_come_too_late", "sqlite"),
        ),
    ),
    Bug(
        "answer-before-save",
        "A caller is answered before what its call has changed is durable.",
        "O2",
        RESIDENT,
        "        if self.pending is not None:\n            self.pending.replies.append(reply)\n",
        "        if self.pending is not None:\n            reply.give()\n",
        (simulation("counters"), suite("tests/objects/test_races.py")),
    ),
    Bug(
        "late-answer-at-once",
        "A read that came behind a commit under way is answered before that is durable.",
        "O2",
        RESIDENT,
        "            self.in_flight.late.append(reply)\n",
        "            reply.give()\n",
        (
            simulation("counters"),
            suite("tests/objects/test_races.py"),
        ),
    ),
    Bug(
        "read-without-sureness",
        "A read is answered by a node that may have lost the object.",
        "O3",
        RESIDENT,
        "        if not self._house.is_sure() and not await self._house.confirm(self):\n",
        "        if not self._house.is_sure() and self.gone:\n",
        (
            simulation("counters"),
            suite(
                "tests/objects/test_races.py::test_a_node_whose_lease_is_in_doubt_asks_who_owns_the_object_before_it_answers"
            ),
        ),
    ),
    Bug(
        "answer-without-sureness",
        "A call that changed nothing is answered by a node that may have lost the object.",
        "O3",
        RESIDENT,
        "        elif self._house.is_sure() or await self._house.confirm(self):\n",
        "        elif not self.gone:\n",
        (
            simulation("counters"),
            suite("tests/objects/test_races.py::test_a_node_in_doubt_asks_before_it_answers_what_changed_nothing"),
        ),
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
        (
            simulation("counters"),
            contract("calls", "test_a_key_stands_for_one_call_of_one_object", "sqlite"),
        ),
    ),
    Bug(
        "answered-twice",
        "An answer replaces the one that is there.",
        "O5",
        POSTED,
        "{schema}_calls.id = w.id\n    AND +answered_us IS NULL;",
        "{schema}_calls.id = w.id;",
        (contract("calls", "test_the_first_answer_stays", "sqlite"),),
    ),
    Bug(
        "listed-and-served-again",
        "A call that was answered while it was being listed is served again.",
        "O5",
        RESIDENT,
        "            return item.seen > self.owned_since and self._house.monotonic() < item.until\n",
        "            return self._house.monotonic() < item.until\n",
        (
            suite(
                "tests/objects/test_races.py::test_a_call_that_another_owner_has_answered_since_it_was_listed_is_not_taken"
            ),
        ),
    ),
    Bug(
        "alarm-never-done",
        "An alarm that has rung stays, and rings again.",
        "O6",
        ALARMS,
        "DELETE FROM {schema}_alarms\nWHERE (type, id, name, revision) IN (",
        "DELETE FROM {schema}_alarms\nWHERE attempt > 0 AND (type, id, name, revision) IN (",
        (contract("alarms", "test_what_rang_is_done_due_again_or_failed_for_good", "sqlite"),),
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
        (contract("alarms", "test_an_alarm_that_is_set_again_while_it_rings_stays", "sqlite"),),
    ),
    Bug(
        "stopped-and-not-released",
        "An object that was stopped is still owned by its node.",
        "O7",
        RESIDENT,
        "            if not self.gone:\n"
        "                await self._house.release(self, is_done=item.call is not None)\n",
        "",
        (suite("tests/objects/test_lifecycle.py::test_a_stopped_object_is_nobodys_and_keeps_its_state"),),
    ),
)
