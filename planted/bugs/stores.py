"""What only a real database shows: transactions, locks and their order."""

from __future__ import annotations

from typing import Final

from planted.bug import Bug, contract, suite

CLAIMS: Final = "_store/postgres/sql/claims.sql"
WRITER: Final = "_store/sqlite/writer.py"
LINK: Final = "_store/sqlite/link.py"

BUGS: Final = (
    Bug(
        "begin-without-immediate",
        "A transaction on SQLite begins by reading, and meets a writer when it wants to write.",
        "H1",
        WRITER,
        'connection.execute("BEGIN IMMEDIATE")',
        'connection.execute("BEGIN")',
        (suite("tests/store/test_sqlite.py::test_processes_share_one_new_file_without_a_busy_error"),),
    ),
    Bug(
        "a-file-opened-beside-its-locks",
        "A second engine of a process opens the database's file and closes it: the first one's locks on it are gone.",
        "H9",
        "_store/sqlite/files.py",
        "os.O_CREAT | os.O_EXCL | os.O_RDWR",
        "os.O_CREAT | os.O_RDWR",
        (suite("tests/store/test_sqlite.py::test_engines_of_one_process_do_not_drop_each_others_locks"),),
    ),
    Bug(
        "a-log-that-went-away-unnoticed",
        "What was written to a log that somebody has removed meanwhile is acknowledged.",
        "H10",
        WRITER,
        "answers += self._seen(self._transact(writes))",
        "answers += self._transact(writes)",
        (
            suite(
                "tests/store/test_sqlite.py::test_what_is_written_to_a_log_that_goes_away_meanwhile_is_not_acknowledged"
            ),
        ),
    ),
    Bug(
        "connections-open-across-a-fork",
        "A child inherits SQLite's table of open files, and takes no locks where its parent had them.",
        "H9",
        LINK,
        "if not self._in_memory:",
        "if self._in_memory:",
        (suite("tests/store/test_forks.py::test_what_a_forked_child_commits_stays_when_its_parent_closes"),),
    ),
    Bug(
        "a-fork-amid-sqlite",
        "A process is forked while a thread of it is inside SQLite, whose mutexes stay locked in the child.",
        "P10",
        LINK,
        'must not inherit."""\n        self._lock.acquire()',
        'must not inherit."""\n        self._lock.acquire(blocking=False)',
        (suite("tests/store/test_forks.py::test_a_fork_waits_until_a_thread_is_outside_of_sqlite"),),
    ),
    Bug(
        "half-a-failed-group-committed",
        "When one of those who share a transaction fails, what the others had written in it is committed.",
        "H4",
        WRITER,
        'connection.execute("ROLLBACK")',
        'connection.execute("COMMIT")',
        (contract("objects", "test_a_commit_that_breaks_off_anywhere_has_written_nothing", "sqlite"),),
    ),
    Bug(
        "postgres-commit-without-epoch",
        "An outcome is written whoever holds the claim by now.",
        "A1",
        CLAIMS,
        "AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'\n"
        "    AND (o.commits IS NULL OR i.commits = o.commits);",
        "AND i.id = o.id AND i.status = 'running'\n    AND (o.commits IS NULL OR i.commits = o.commits);",
        (contract("claims", "test_a_stale_claim_changes_nothing", "postgres and done"),),
    ),
    Bug(
        "postgres-commit-of-a-lost-claim",
        "A standby that was promoted gives the number of a lost claim out again, and what that claim wrote is taken.",
        "A1",
        CLAIMS,
        "    AND (o.commits IS NULL OR i.commits = o.commits);",
        "    AND (o.commits IS NULL OR o.commits >= 0);",
        (contract("claims", "test_of_a_number_that_was_given_out_twice_the_older_claim_writes_nothing", "postgres"),),
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
        (contract("claims", "test_a_step_of_a_claim_that_is_no_longer_ours_changes_nothing", "postgres"),),
    ),
    Bug(
        "postgres-effects-without-lock",
        "A batch looks which claims are its own, and does not lock them before it acts on that.",
        "A2",
        CLAIMS,
        "    ORDER BY i.id\n    FOR NO KEY UPDATE OF i\n) AS l;",
        "    ORDER BY i.id\n) AS l;",
        (contract("races", "test_a_spawn_and_a_reclaim_have_one_winner", "postgres"),),
    ),
    Bug(
        "postgres-record-without-epoch",
        "What a step has given is recorded also for a claim that has been lost.",
        "A1",
        CLAIMS,
        "AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'\n"
        "        AND (o.commits IS NULL OR i.commits = o.commits)\n",
        "AND i.id = o.id AND i.status = 'running'\n        AND (o.commits IS NULL OR i.commits = o.commits)\n",
        (contract("claims", "test_what_is_recorded_by_a_claim_that_has_been_replaced_changes_nothing", "postgres"),),
    ),
    Bug(
        "postgres-delivery-without-lock",
        "A signal does not lock its reader: each misses the other.",
        "C1",
        "_store/postgres/sql/signals.sql",
        "ORDER BY i.id\nFOR NO KEY UPDATE OF i;",
        "ORDER BY i.id;",
        (suite("tests/store/test_postgres.py::test_a_signal_waits_for_a_park_that_is_under_way"),),
    ),
    Bug(
        "postgres-park-without-second-look",
        "A signal that came while its reader was about to wait wakes nobody.",
        "C1",
        "_store/postgres/effects.py",
        "queues |= await _recheck(transaction, [item for item in written if item.status == WAITING and item.awaits])",
        "queues |= set()",
        (suite("tests/store/test_postgres.py::test_a_park_waits_for_a_signal_that_is_under_way"),),
    ),
    Bug(
        "postgres-used-signals-unfenced",
        "Signals are used up for an outcome that was refused.",
        "C9",
        "_store/postgres/effects.py",
        "await _consume(transaction, written)",
        "await _consume(transaction, batch)",
        (contract("signals", "test_a_lost_claim_uses_nothing_up", "postgres"),),
    ),
    Bug(
        "postgres-parents-not-locked",
        "Children that end at once count on what each of them has read of their parent.",
        "D1",
        "_store/postgres/sql/effects.sql",
        "    AND p.id = c.parent AND p.spawns = c.round AND p.status = 'waiting' AND p.pending IS NOT NULL\nRETURNING",
        "    AND p.id = c.parent AND p.status = 'waiting' AND p.pending IS NOT NULL\nRETURNING",
        (contract("children", "test_only_the_round_that_is_waited_for_counts", "postgres"),),
    ),
    Bug(
        "postgres-deadlocks-not-repeated",
        "A transaction that the database has given up to end a deadlock is not tried again.",
        "B12",
        "_store/postgres/faults.py",
        '_IN_THE_WAY: Final = frozenset({"40001", "40P01", "55P03"})',
        '_IN_THE_WAY: Final = frozenset({"40001", "55P03"})',
        (suite("tests/store/test_postgres.py::test_a_deadlock_is_tried_again"),),
    ),
    Bug(
        "postgres-statements-without-transaction",
        "The statements of an outcome are committed one by one.",
        "B2",
        "_store/postgres/links.py",
        "async with connection.transaction():",
        "if connection is not None:",
        (contract("objects", "test_a_commit_that_breaks_off_anywhere_has_written_nothing", "postgres"),),
    ),
    Bug(
        "postgres-crash-told-as-made",
        "What a crash has shown is told as made, though the standby that commits wait for does not have it.",
        "G4",
        "_store/postgres/links.py",
        "if self._has_connected:",
        "if connection is None:",
        (
            suite(
                "tests/store/test_replication.py::test_what_a_crash_has_shown_is_not_told_as_made_before_the_standby_has_it"
            ),
        ),
    ),
    Bug(
        "postgres-former-primary",
        "The primary of before a failover is used again when it comes back.",
        "G6",
        "_store/postgres/links.py",
        "if timeline is not None and timeline < self._timeline:",
        "if timeline is not None and timeline < 0:",
        (suite("tests/store/test_replication.py::test_the_primary_of_before_a_failover_is_used_no_more"),),
    ),
    Bug(
        "postgres-silence-unnoticed",
        "Nobody asks whether the other machine is still there.",
        "G12",
        "_store/postgres/links.py",
        "        notice_silence(transport, self._address.silence)\n",
        "",
        (suite("tests/store/test_silence.py::test_a_machine_that_is_gone_is_noticed"),),
    ),
    Bug(
        "postgres-signal-without-conflict",
        "A signal sent again is an error instead of a repetition.",
        "C6",
        "_store/postgres/sql/signals.sql",
        "    AS g (id, instance, name, payload, dedup_key)\nON CONFLICT DO NOTHING\n",
        "    AS g (id, instance, name, payload, dedup_key)\n",
        (contract("signals", "test_a_dedup_key_counts_once_for_each_instance", "postgres"),),
    ),
    Bug(
        "postgres-save-without-epoch",
        "The state of an object is written by whoever has owned it once.",
        "O1",
        "_store/postgres/sql/objects.sql",
        "AND o.id BETWEEN w.id AND w.id AND o.node IS NOT DISTINCT FROM :node\n"
        "    AND o.epoch = ANY (ARRAY[w.epoch]) AND o.commits < w.commit",
        "AND o.id BETWEEN w.id AND w.id AND (o.node IS NOT NULL OR :node::text IS NULL)\n    AND o.commits < w.commit",
        (contract("objects", "test_only_the_owner_saves_and_only_under_its_epoch", "postgres"),),
    ),
)
