"""Workflows, their journal, and code that stays in memory."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, contract, simulation, suite

CALLS: Final = "workflows/calls.py"
FLOW: Final = "workflows/flow.py"
RESIDENTS: Final = "_runtime/residents.py"

BUGS: Final = (
    Bug(
        "journal-without-fence",
        "A claim that was taken over goes on recording.",
        "W1",
        "_store/sqlite/sql/claims.sql",
        "WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch "
        "AND {schema}_instances.status = 'running'\n"
        "    AND {schema}_instances.commits = o.commits AND (paused_us",
        "WHERE {schema}_instances.id = o.id AND {schema}_instances.status = 'running'\n    AND (paused_us",
        (contract("claims", "test_what_is_recorded_by_a_claim_that_has_been_replaced_changes_nothing", "sqlite"),),
    ),
    Bug(
        "recorded-twice",
        "A result that was recorded is replaced by that of a second run of its step.",
        "W1",
        "_store/sqlite/sql/journal.sql",
        "WHERE {schema}_journal.status <> 'done';",
        "WHERE {schema}_journal.key <> '';",
        (contract("claims", "test_what_is_recorded_stays_as_it_is", "sqlite"),),
    ),
    Bug(
        "told-before-recorded",
        "The code goes on with a result before that is durable.",
        "W2",
        "_runtime/run.py",
        "        if not await self.kit.sink.durable(recorded(claim, outcome), self.queue, claim.program):\n",
        "        self.kit.sink.put(recorded(claim, outcome), self.queue, claim.program)\n"
        "        if self.why is not None:\n",
        (suite("tests/workflows/test_steps.py::test_each_step_is_committed_before_the_next_begins"),),
    ),
    Bug(
        "recorded-results-ignored",
        "A step whose result is recorded runs again when the code does.",
        "W3",
        CALLS,
        'if note is not None and note.status in ("done", "failed"):',
        'if note is not None and note.status in ("failed",):',
        (simulation("trips"),),
    ),
    Bug(
        "undone-oldest-first",
        "Compensations run in the order of what they undo.",
        "W5",
        CALLS,
        "key=lambda call: call.number, reverse=True)",
        "key=lambda call: call.number)",
        (suite("tests/workflows/test_compensation.py::test_what_was_done_is_undone_newest_first"),),
    ),
    Bug(
        "undone-under-another-key",
        "A compensation is recorded under a key that its next run does not ask for.",
        "W5",
        FLOW,
        'key = f"{UNDO}{call.key}/{undo.outlast_step_name}#1"',
        'key = f"{UNDO}{call.key}/{undo.outlast_step_name}#{self._activation.claim.epoch}"',
        (
            simulation("trips"),
            suite("tests/workflows/test_compensation.py"),
        ),
    ),
    Bug(
        "attempts-forgotten",
        "A step that is retried begins to count anew in every activation.",
        "W4",
        CALLS,
        "            call.attempt = note.attempt\n",
        "            call.attempt = 0\n",
        (suite("tests/workflows/test_model_steps.py"),),
    ),
    Bug(
        "sleep-begins-anew",
        "A sleep lasts its whole time again whenever the code runs again.",
        "W4",
        FLOW,
        "wait.due_at = self._real.time() + note.left_s",
        "wait.due_at = None if wait.timeout_s is None else self._real.time() + wait.timeout_s",
        (
            simulation("trips"),
            suite("tests/workflows/test_waits.py"),
        ),
    ),
    Bug(
        "resident-of-another-claim",
        "Code that has stayed in memory goes on although others have gone on with its instance.",
        "W6",
        RESIDENTS,
        "return claim.epoch == place.epoch + 1 and claim.commits == place.commits",
        "return claim.epoch > place.epoch",
        (
            simulation("trips"),
            suite("tests/runtime/test_residents.py"),
        ),
    ),
    Bug(
        "resident-of-a-refused-park",
        "Code stays in memory although its park was refused.",
        "W6",
        RESIDENTS,
        "            if item.status == WAITING and item.id not in stale:",
        "            if item.status == WAITING:",
        (suite("tests/runtime/test_residents.py"),),
    ),
    Bug(
        "letters-read-twice",
        "A signal that one wait has used is given to the next as well.",
        "C9",
        FLOW,
        "        self._inbox = [letter for letter in self._inbox if letter.id not in used]\n",
        "        self._inbox = [letter for letter in self._inbox if letter.id]\n",
        (suite("tests/workflows/test_waits.py"),),
    ),
    Bug(
        "child-started-again",
        "A workflow that runs again starts its child again.",
        "D3",
        FLOW,
        '            id: str = decode_any(note.value or "{}")["id"]\n            return id, None\n',
        "            pass\n",
        (
            simulation("trips"),
            suite("tests/workflows/test_children.py::test_a_crash_starts_no_child_twice"),
        ),
    ),
    Bug(
        "news-of-a-child-lost",
        "A workflow is not told that its child has ended.",
        "D5",
        "_store/sqlite/barriers.py",
        "[news_of(*caller) for caller in callers], now_us) if callers else []",
        "[news_of(*caller) for caller in callers], now_us) if not callers else []",
        (simulation("trips"),),
    ),
)
