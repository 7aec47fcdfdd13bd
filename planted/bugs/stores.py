"""What only a real database shows: transactions, locks and their order."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, suite

CLAIMS: Final = "_store/postgres/sql/claims.sql"
WRITER: Final = "_store/sqlite/writer.py"
CONTRACT: Final = "tests/store/contract"
RACES: Final = f"{CONTRACT}/test_races.py"

BUGS: Final = (
    Bug(
        "begin-without-immediate",
        "A transaction on SQLite begins by reading, and meets a writer when it wants to write.",
        "H1",
        WRITER,
        'self._patiently(connection.execute, "BEGIN IMMEDIATE")',
        'self._patiently(connection.execute, "BEGIN")',
        (suite("tests/store/test_sqlite.py"),),
    ),
    Bug(
        "half-a-failed-group-committed",
        "When one of those who share a transaction fails, what the others had written in it is committed.",
        "H4",
        WRITER,
        'connection.execute("ROLLBACK")',
        'connection.execute("COMMIT")',
        (suite("tests/store/test_sqlite.py"),),
    ),
    Bug(
        "postgres-commit-without-epoch",
        "An outcome is written whoever holds the claim by now.",
        "A1",
        CLAIMS,
        "AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running';\n\n-- name: commit_full",
        "AND i.id = o.id AND i.status = 'running';\n\n-- name: commit_full",
        (suite(f"{CONTRACT}/test_claims.py", "-k", "postgres and stale"),),
    ),
    Bug(
        "postgres-full-commit-without-epoch",
        "An outcome of a machine is written whoever holds the claim by now.",
        "A1",
        CLAIMS,
        "AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'\n"
        "    AND (o.commits IS NULL OR i.commits = o.commits)"
        "\n    AND (o.status <> 'running'",
        "AND i.id = o.id AND i.status = 'running'\n    AND (o.commits IS NULL OR i.commits = o.commits)"
        "\n    AND (o.status <> 'running'",
        (suite(f"{CONTRACT}/test_claims.py", f"{CONTRACT}/test_children.py", "-k", "postgres and (stale or lost)"),),
    ),
    Bug(
        "postgres-effects-without-lock",
        "A batch looks which claims are its own, and does not lock them before it acts on that.",
        "A2",
        CLAIMS,
        "    ORDER BY i.id\n    FOR NO KEY UPDATE OF i\n) AS l;",
        "    ORDER BY i.id\n) AS l;",
        (suite(RACES, "-k", "postgres"),),
    ),
    Bug(
        "postgres-delivery-without-lock",
        "A signal does not lock its reader: each misses the other.",
        "C1",
        "_store/postgres/sql/signals.sql",
        "ORDER BY i.id\nFOR NO KEY UPDATE OF i;",
        "ORDER BY i.id;",
        (suite(RACES, "-k", "postgres"),),
    ),
    Bug(
        "postgres-park-without-second-look",
        "A signal that came while its reader was about to wait wakes nobody.",
        "C1",
        "_store/postgres/effects.py",
        "queues |= await _recheck(transaction, [item for item in written if item.status == WAITING and item.awaits])",
        "queues |= set()",
        (suite(RACES, f"{CONTRACT}/test_signals.py", "-k", "postgres"),),
    ),
    Bug(
        "postgres-used-signals-unfenced",
        "Signals are used up for an outcome that was refused.",
        "C9",
        "_store/postgres/effects.py",
        "await _consume(transaction, written)",
        "await _consume(transaction, batch)",
        (suite(f"{CONTRACT}/test_signals.py", "-k", "postgres and lost"),),
    ),
    Bug(
        "postgres-parents-not-locked",
        "Children that end at once count on what each of them has read of their parent.",
        "D1",
        "_store/postgres/sql/effects.sql",
        "    AND p.id = c.parent AND p.spawns = c.round AND p.status = 'waiting' AND p.pending IS NOT NULL\nRETURNING",
        "    AND p.id = c.parent AND p.status = 'waiting' AND p.pending IS NOT NULL\nRETURNING",
        (suite(f"{CONTRACT}/test_children.py", RACES, "-k", "postgres and (round or children)"),),
    ),
    Bug(
        "postgres-deadlocks-not-repeated",
        "A transaction that the database has given up to end a deadlock is not tried again.",
        "B12",
        "_store/postgres/faults.py",
        '_IN_THE_WAY: Final = frozenset({"40001", "40P01", "55P03"})',
        '_IN_THE_WAY: Final = frozenset({"40001", "55P03"})',
        (
            suite("tests/store/test_postgres.py", "-k", "deadlock or way or serializ"),
            suite("tests/store/test_postgres.py"),
        ),
    ),
    Bug(
        "postgres-statements-without-transaction",
        "The statements of an outcome are committed one by one.",
        "B2",
        "_store/postgres/links.py",
        "async with connection.transaction():",
        "if connection is not None:",
        (suite(RACES, f"{CONTRACT}/test_objects.py", "-k", "postgres"),),
    ),
    Bug(
        "postgres-signal-without-conflict",
        "A signal sent again is an error instead of a repetition.",
        "C6",
        "_store/postgres/sql/signals.sql",
        "    AS g (id, instance, name, payload, dedup_key)\nON CONFLICT DO NOTHING\n",
        "    AS g (id, instance, name, payload, dedup_key)\n",
        (suite(f"{CONTRACT}/test_signals.py", "-k", "postgres and (again or dedup)"),),
    ),
    Bug(
        "postgres-save-without-epoch",
        "The state of an object is written by whoever has owned it once.",
        "O1",
        "_store/postgres/sql/objects.sql",
        "AND o.id BETWEEN w.id AND w.id AND o.node IS NOT DISTINCT FROM :node\n"
        "    AND o.epoch = ANY (ARRAY[w.epoch]) AND o.commits < w.commit",
        "AND o.id BETWEEN w.id AND w.id AND (o.node IS NOT NULL OR :node::text IS NULL)\n    AND o.commits < w.commit",
        (suite(f"{CONTRACT}/test_objects.py", "-k", "postgres and (owner or save)"),),
    ),
    Bug(
        "postgres-slot-too-many",
        "Slots that are in use are not counted.",
        "E2",
        "_store/postgres/sql/limits.sql",
        "ARRAY(SELECT i.slot FROM {schema}.instances AS i WHERE i.concurrency_key = k.key AND i.slot IS NOT NULL)",
        "ARRAY(SELECT i.slot FROM {schema}.instances AS i WHERE i.concurrency_key = k.key AND i.slot < 0)",
        (suite(f"{CONTRACT}/test_limits.py", "-k", "postgres and slot"),),
    ),
)
