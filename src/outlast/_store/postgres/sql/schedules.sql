-- name: glance
-- takes: now or null
-- gives: now, the first tick of those enabled (or null), whether some have runs, and whether some have ticks that wait
-- index: schedules_next, schedules_runs
SELECT COALESCE(:now::timestamptz, clock_timestamp()),
    (SELECT min(next_at) FROM {schema}.schedules WHERE enabled AND next_at IS NOT NULL),
    EXISTS (SELECT 1 FROM {schema}.schedules WHERE runs <> '[]'),
    EXISTS (SELECT 1 FROM {schema}.schedules WHERE runs <> '[]' AND queued <> '[]');

-- name: due_schedules
-- takes: now; watch, whether those with runs are wanted, too; list_max
-- gives: those that have a tick up to now, the earliest first, then those with runs
-- index: schedules_next, schedules_runs
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_at, next_at, runs, queued, last_run_at, last_instance,
    consecutive_failures, last_error, last_error_at, disabled_at, created_at, updated_at, revision, tags
FROM {schema}.schedules
WHERE (enabled AND next_at IS NOT NULL AND next_at <= :now::timestamptz) OR (:watch::boolean AND runs <> '[]')
ORDER BY next_at NULLS LAST, name LIMIT :list_max::bigint;

-- name: stand_runs
-- takes: ids of instances
-- gives: id, status, error, when it ended
-- index: primary key
SELECT id::text, status, error, finished_at FROM {schema}.instances
WHERE id = ANY (:ids::uuid[]);

-- name: list_schedules
-- takes: each filter or null; the name to go on behind; list_max
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_at, next_at, runs, queued, last_run_at, last_instance,
    consecutive_failures, last_error, last_error_at, disabled_at, created_at, updated_at, revision, tags
FROM {schema}.schedules
WHERE name > :after AND (:enabled::boolean IS NULL OR enabled = :enabled) AND (:program::text IS NULL OR program = :program)
    AND (:queue::text IS NULL OR queue = :queue)
ORDER BY name LIMIT :list_max::bigint;

-- name: get_schedule
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_at, next_at, runs, queued, last_run_at, last_instance,
    consecutive_failures, last_error, last_error_at, disabled_at, created_at, updated_at, revision, tags
FROM {schema}.schedules WHERE name = :name;

-- name: add_schedule
-- takes: a row's columns; now or null
-- gives: nothing; one whose name is taken is left out
INSERT INTO {schema}.schedules (
    name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_at, next_at, runs, queued, last_run_at, last_instance,
    consecutive_failures, last_error, last_error_at, disabled_at, created_at, updated_at, revision, tags)
VALUES (:name, :program, :version, :step, :state, :timeout_s, :queue, :priority, :cron, :zone, :dst, :catch_up,
    :window_s, :overlap, :queued_max, :jitter_s, :grace_s, :enabled, :decided_at, :next_at, :runs, :queued,
    :last_run_at, :last_instance, :consecutive_failures, :last_error, :last_error_at, :disabled_at,
    COALESCE(:now::timestamptz, now()), COALESCE(:now, now()), 1, :tags)
ON CONFLICT DO NOTHING;

-- name: change_schedule
-- takes: a row's columns; its revision; now or null
-- Who has planned from an older row changes nothing.
UPDATE {schema}.schedules
SET program = :program, version = :version, step = :step, state = :state, timeout_s = :timeout_s, queue = :queue,
    priority = :priority, cron = :cron, zone = :zone, dst = :dst, catch_up = :catch_up, window_s = :window_s,
    overlap = :overlap, queued_max = :queued_max, jitter_s = :jitter_s, grace_s = :grace_s, enabled = :enabled,
    decided_at = :decided_at, next_at = :next_at, runs = :runs, queued = :queued, last_run_at = :last_run_at,
    last_instance = :last_instance, consecutive_failures = :consecutive_failures, last_error = :last_error,
    last_error_at = :last_error_at, disabled_at = :disabled_at, tags = :tags,
    updated_at = COALESCE(:now::timestamptz, now()), revision = revision + 1
WHERE name = :name AND revision = :revision;

-- name: delete_schedule
DELETE FROM {schema}.schedules WHERE name = :name;
