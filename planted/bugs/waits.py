"""Signals, children, schedules, retention: what waits, and what wakes it."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, contract, simulation, suite

SIGNALS: Final = "_store/sqlite/sql/signals.sql"
EFFECTS: Final = "_store/sqlite/sql/effects.sql"
TIMERS: Final = "_store/sqlite/sql/timers.sql"
INSTANCES: Final = "_store/sqlite/sql/instances.sql"

BUGS: Final = (
    Bug(
        "park-without-second-look",
        "A signal that came while its reader was about to wait wakes nobody.",
        "C1",
        "_store/sqlite/effects.py",
        "        queues |= _recheck(connection, desk, parks, now_us)",
        "        queues |= set()",
        (simulation("boxes"),),
    ),
    Bug(
        "delivery-wakes-nobody",
        "A signal is stored, and whoever waits for it waits on.",
        "C1",
        "_store/sqlite/signals.py",
        "        if wakers:\n",
        "        if not places:\n",
        (simulation("boxes"),),
    ),
    Bug(
        "second-look-sees-what-was-shown",
        "A step that has seen a signal and waits for another is woken by the same one again and again.",
        "C2",
        SIGNALS,
        "\n        AND s.id NOT IN (SELECT value FROM json_each(json_extract(p.value, '$[2]'))));",
        ");",
        (contract("signals", "test_a_signal_that_came_first_counts_once", "sqlite"),),
    ),
    Bug(
        "all-mail-used-up",
        "With the signals that a step has read, those that came meanwhile are used up.",
        "C9",
        SIGNALS,
        "WHERE {schema}_signals.id = u.id AND {schema}_signals.instance = u.instance AND consumed_us IS NULL;",
        "WHERE {schema}_signals.instance = u.instance AND consumed_us IS NULL;",
        (simulation("boxes"),),
    ),
    Bug(
        "nothing-used-up",
        "Signals that a step has read stay unread.",
        "C9",
        "_store/sqlite/effects.py",
        "used = [(item.id, signal) for item in written for signal in item.consumed or ()]",
        "used = [(item.id, signal) for item in written for signal in () or ()]",
        (simulation("boxes"),),
    ),
    Bug(
        "dedup-key-not-stored",
        "A signal sent again under the same dedup key counts twice.",
        "C6",
        SIGNALS,
        "    json_extract(value, '$[3]'), json_extract(value, '$[4]'), :now_us\n",
        "    json_extract(value, '$[3]'), NULL, :now_us\n",
        (
            simulation("boxes"),
            contract("signals", "test_a_dedup_key_counts_once_for_each_instance", "sqlite"),
        ),
    ),
    Bug(
        "used-signals-forgotten",
        "A used signal is forgotten at once: sent again after a lost answer, it counts twice.",
        "C7",
        SIGNALS,
        "    AND consumed_us < :old_us;",
        "    AND consumed_us >= :old_us;",
        (contract("signals", "test_a_signal_sent_again_after_a_lost_reply_is_not_delivered_twice", "sqlite"),),
    ),
    Bug(
        "dedup-keys-forgotten",
        "The dedup key of a used signal is forgotten: sent again, it counts twice.",
        "C7",
        SIGNALS,
        "AND dedup_key IS NULL\n    AND consumed_us < :old_us;",
        "AND consumed_us <= :old_us + 60000000;",
        (
            simulation("boxes"),
            contract("signals", "test_a_dedup_key_is_remembered_after_its_signal_was_used_up", "sqlite"),
        ),
    ),
    Bug(
        "mail-for-the-dead",
        "A signal to what has ended is stored, and its sender told that it was delivered.",
        "C4",
        "_store/post.py",
        "if n in targets and targets[n].status not in FINAL]",
        "if n in targets]",
        (contract("signals", "test_nothing_is_stored_for_what_has_ended", "sqlite"),),
    ),
    Bug(
        "start-with-a-new-id",
        "A start that is tried again after a lost answer makes a second instance.",
        "B2",
        "_runtime/intake.py",
        "            lambda rows: instances.add(rows),",
        "            lambda rows: [setattr(r, 'id', world.new_id()) for r in rows] and instances.add(rows),",
        (
            simulation("chains"),
            suite("tests/engine/test_lost_replies.py::test_a_start_whose_reply_was_lost_is_started_once"),
        ),
    ),
    Bug(
        "deadline-of-a-wait-ignored",
        "A wait with a timeout waits for ever.",
        "C8",
        TIMERS,
        "WHERE wake_us IS NOT NULL AND wake_us <= :now_us ORDER BY wake_us\n",
        "WHERE wake_us IS NOT NULL AND wake_us <= :now_us AND awaits IS NULL ORDER BY wake_us\n",
        (
            simulation("boxes"),
            contract("signals", "test_a_wait_ends_at_its_deadline", "sqlite"),
        ),
    ),
    Bug(
        "deadline-of-a-wait-stays",
        "A deadline is left on the row when a signal has woken it, and wakes a later wait.",
        "C8",
        SIGNALS,
        "    due_us = :now_us, wake_us = NULL\n",
        "    due_us = :now_us\n",
        (contract("signals", "test_a_signal_takes_the_deadline_away", "sqlite"),),
    ),
    Bug(
        "timekeeper-skips-the-exact-moment",
        "What is due this very moment is left to the next look, which is told that nothing is due.",
        "F8",
        TIMERS,
        "    WHERE status = 'scheduled' AND due_us <= :now_us ORDER BY due_us LIMIT :limit",
        "    WHERE status = 'scheduled' AND due_us < :now_us ORDER BY due_us LIMIT :limit",
        (
            simulation("chains"),
            contract("timers", "test_a_row_is_promoted_exactly_when_due", "sqlite"),
        ),
    ),
    Bug(
        "barrier-lowered-twice",
        "A child that ends counts for two.",
        "D1",
        EFFECTS,
        "count(*) AS ended FROM",
        "2 * count(*) AS ended FROM",
        (simulation("families"),),
    ),
    Bug(
        "barrier-of-any-round",
        "Children of an earlier round count for the one that is waited for.",
        "D2",
        EFFECTS,
        "WHERE p.spawns = c.round AND p.status = 'waiting'",
        "WHERE p.status = 'waiting'",
        (
            simulation("families"),
            contract("children", "test_only_the_round_that_is_waited_for_counts", "sqlite"),
        ),
    ),
    Bug(
        "woken-by-each-child",
        "A parent is woken by the first of its children that ends.",
        "D1",
        EFFECTS,
        "    status = CASE WHEN o.pending > 0 THEN 'waiting'\n"
        "        WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' "
        "ELSE 'scheduled' END,\n"
        "    due_us = CASE WHEN o.pending > 0 THEN due_us ELSE :now_us END, "
        "wake_us = CASE WHEN o.pending > 0 THEN wake_us END\n"
        "FROM (SELECT",
        "    status = CASE"
        "        WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' "
        "ELSE 'scheduled' END,\n"
        "    due_us = CASE WHEN o.pending > 0 THEN due_us ELSE :now_us END, "
        "wake_us = CASE WHEN o.pending > 0 THEN wake_us END\n"
        "FROM (SELECT",
        (simulation("families"),),
    ),
    Bug(
        "failed-children-do-not-count",
        "A parent waits for ever for a child that has failed.",
        "D7",
        "_store/sqlite/effects.py",
        "if item.parent and item.status in FINAL]",
        "if item.parent and item.status == 'done']",
        (simulation("families"),),
    ),
    Bug(
        "prune-children-of-the-living",
        "Retention deletes children whose parent has not read them yet.",
        "D6",
        "_store/sqlite/sql/upkeep.sql",
        "WHERE p.id = i.parent AND (p.finished_us IS NULL OR i.step = '~errand')))\n    ORDER BY i.expires_us",
        "WHERE p.id = i.parent AND (p.finished_us < 0 OR i.step = '~errand')))\n    ORDER BY i.expires_us",
        (contract("children", "test_children_are_pruned_after_their_parent_has_ended", "sqlite"),),
    ),
    Bug(
        "two-who-fire",
        "Two nodes that look at a schedule at once both fire.",
        "F5",
        "_store/sqlite/sql/schedules.sql",
        "WHERE name = :name AND revision = :revision;",
        "WHERE name = :name AND revision >= :revision;",
        (
            simulation("ticks"),
            contract("schedules", "test_firing_from_an_older_row_does_nothing", "sqlite"),
        ),
    ),
    Bug(
        "one-tick-after-an-outage",
        "After an outage only the first of the ticks that were missed has a run.",
        "F6",
        "_kernel/looks.py",
        "for firing in made.firings if not firing.waits]\n        waiting",
        "for firing in made.firings[:1] if not firing.waits]\n        waiting",
        (simulation("ticks"),),
    ),
    Bug(
        "catch-up-forgotten",
        "Of ticks that were missed for longer than the grace none has a run.",
        "F6",
        "_kernel/schedules.py",
        'policy.window_s if policy.catch_up == "all" else 0.0',
        'policy.window_s if policy.catch_up == "each" else 0.0',
        (
            simulation("ticks"),
            suite("tests/kernel/test_schedules.py::test_after_an_outage_the_policy_says_what_fires"),
        ),
    ),
)
