"""Concurrency keys and rate limits."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, contract, simulation, suite

LIMITS: Final = "_store/sqlite/sql/limits.sql"
RULES: Final = "_kernel/limits.py"

BUGS: Final = (
    Bug(
        "one-slot-too-many",
        "One more step of a key runs than its limit says.",
        "E2",
        RULES,
        "return [slot for slot in range(slots) if slot not in taken][: max(0, slots - len(taken))]",
        "return [slot for slot in range(slots + 1) if slot not in taken][: max(0, slots + 1 - len(taken))]",
        (simulation("chains"),),
    ),
    Bug(
        "slots-not-taken",
        "A step that runs does not hold its slot.",
        "E1",
        LIMITS,
        "SET slot = o.slot\n",
        "SET slot = NULL\n",
        (simulation("chains"),),
    ),
    Bug(
        "slot-lost-while-it-goes-on",
        "A step that goes on in the same claim gives up the slot that it runs in.",
        "E3",
        "_store/sqlite/sql/claims.sql",
        "slot = CASE WHEN o.status = 'running' THEN slot END,",
        "slot = NULL,",
        (simulation("chains"),),
    ),
    Bug(
        "slot-kept-by-the-dead",
        "What is taken back from a dead node keeps its slot, and its key stays shut.",
        "E4",
        "_store/sqlite/sql/leases.sql",
        "    node = NULL, slot = NULL, deadline_us = NULL, error",
        "    node = NULL, deadline_us = NULL, error",
        (simulation("chains"),),
    ),
    Bug(
        "denied-and-still-running",
        "What a limit has denied stays claimed, by nobody who runs it.",
        "E6",
        LIMITS,
        "SET status = 'blocked', node = NULL, deadline_us = NULL, blocked_on = o.gate\n",
        "SET blocked_on = o.gate\n",
        (simulation("chains"),),
    ),
    Bug(
        "gate-stays-shut",
        "A slot comes free, and nobody lets the next one in.",
        "E6",
        "_runtime/committer.py",
        "if freed := {KEY + item.frees for item in settlements if item.frees is not None}:",
        "if freed := {KEY + item.frees for item in settlements if item.frees == ''}:",
        (suite("tests/runtime/test_committer.py::test_what_frees_a_slot_lets_the_next_in_at_once"),),
    ),
    Bug(
        "admitted-past-the-gate",
        "What is due and has a key is ready at once, whoever holds the slots.",
        "E7",
        "_store/sqlite/sql/timers.sql",
        "SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' "
        "ELSE 'blocked' END,\n",
        "SET status = CASE WHEN concurrency_key = '' AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' "
        "ELSE 'ready' END,\n",
        (contract("limits", "test_what_has_a_limit_is_not_ready_before_it_is_admitted", "sqlite"),),
    ),
    Bug(
        "bucket-never-fills",
        "Tokens of a rate limit do not come back.",
        "E5",
        RULES,
        "min(burst, tokens + per_s * max(0, now_us - refilled_us) / 1_000_000)",
        "min(burst, tokens)",
        (suite("tests/kernel/test_limits.py"),),
    ),
    Bug(
        "bucket-without-brim",
        "Tokens pile up beyond the burst.",
        "E5",
        RULES,
        "min(burst, tokens + per_s * max(0, now_us - refilled_us) / 1_000_000)",
        "tokens + per_s * max(0, now_us - refilled_us) / 1_000_000",
        (suite("tests/kernel/test_limits.py"),),
    ),
    Bug(
        "clock-that-goes-back-takes-tokens",
        "A clock that goes back empties a bucket.",
        "F2",
        RULES,
        "max(0, now_us - refilled_us)",
        "(now_us - refilled_us)",
        (suite("tests/kernel/test_limits.py"),),
    ),
    Bug(
        "tokens-not-spent",
        "A rate limit lets through whoever comes.",
        "E5",
        "_store/sqlite/limits.py",
        "tokens=bucket.tokens - verdict.spent.get(rate, 0.0)",
        "tokens=bucket.tokens - 0.0",
        (contract("limits", "test_tokens_are_taken_with_the_claim_and_come_back_with_time", "sqlite"),),
    ),
)
