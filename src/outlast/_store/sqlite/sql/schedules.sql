-- name: glance
-- gives: the first tick of those enabled (or null), whether some have runs, and whether some have ticks that wait
-- index: schedules_next, schedules_runs
SELECT (SELECT min(next_us) FROM {schema}_schedules WHERE enabled <> 0 AND next_us IS NOT NULL),
    EXISTS (SELECT 1 FROM {schema}_schedules WHERE runs <> '[]'),
    EXISTS (SELECT 1 FROM {schema}_schedules WHERE runs <> '[]' AND queued <> '[]');

-- name: due_schedules
-- takes: now_us; watch, whether those with runs are wanted, too; limit
-- gives: those that have a tick up to now, the earliest first, then those with runs
-- index: schedules_next, schedules_runs
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_us, next_us, runs, queued, last_run_us, last_instance,
    consecutive_failures, last_error, last_error_us, disabled_us, created_us, updated_us, revision, tags
FROM {schema}_schedules
WHERE (enabled <> 0 AND next_us IS NOT NULL AND next_us <= :now_us) OR (:watch AND runs <> '[]')
ORDER BY next_us IS NULL, next_us, name LIMIT :limit;

-- name: stand_runs
-- takes: ids of instances, a JSON array
-- gives: id, status, error, when it ended
-- index: primary key
SELECT id, status, error, finished_us FROM {schema}_instances
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: list_schedules
-- takes: each filter or null; the name to go on behind; limit
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_us, next_us, runs, queued, last_run_us, last_instance,
    consecutive_failures, last_error, last_error_us, disabled_us, created_us, updated_us, revision, tags
FROM {schema}_schedules
WHERE name > :after AND (:enabled IS NULL OR enabled = :enabled) AND (:program IS NULL OR program = :program)
    AND (:queue IS NULL OR queue = :queue)
ORDER BY name LIMIT :limit;

-- name: get_schedule
SELECT name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_us, next_us, runs, queued, last_run_us, last_instance,
    consecutive_failures, last_error, last_error_us, disabled_us, created_us, updated_us, revision, tags
FROM {schema}_schedules WHERE name = :name;

-- name: add_schedule
-- takes: a row's columns; now_us
-- gives: nothing; one whose name is taken is left out
INSERT INTO {schema}_schedules (
    name, program, version, step, state, timeout_s, queue, priority, cron, zone, dst, catch_up, window_s, overlap,
    queued_max, jitter_s, grace_s, enabled, decided_us, next_us, runs, queued, last_run_us, last_instance,
    consecutive_failures, last_error, last_error_us, disabled_us, created_us, updated_us, revision, tags)
VALUES (:name, :program, :version, :step, :state, :timeout_s, :queue, :priority, :cron, :zone, :dst, :catch_up,
    :window_s, :overlap, :queued_max, :jitter_s, :grace_s, :enabled, :decided_us, :next_us, :runs, :queued,
    :last_run_us, :last_instance, :consecutive_failures, :last_error, :last_error_us, :disabled_us, :now_us,
    :now_us, 1, :tags)
ON CONFLICT DO NOTHING;

-- name: change_schedule
-- takes: a row's columns; its revision; now_us
-- Who has planned from an older row changes nothing.
UPDATE {schema}_schedules
SET program = :program, version = :version, step = :step, state = :state, timeout_s = :timeout_s, queue = :queue,
    priority = :priority, cron = :cron, zone = :zone, dst = :dst, catch_up = :catch_up, window_s = :window_s,
    overlap = :overlap, queued_max = :queued_max, jitter_s = :jitter_s, grace_s = :grace_s, enabled = :enabled,
    decided_us = :decided_us, next_us = :next_us, runs = :runs, queued = :queued, last_run_us = :last_run_us,
    last_instance = :last_instance, consecutive_failures = :consecutive_failures, last_error = :last_error,
    last_error_us = :last_error_us, disabled_us = :disabled_us, tags = :tags,
    updated_us = :now_us, revision = revision + 1
WHERE name = :name AND revision = :revision;

-- name: delete_schedule
DELETE FROM {schema}_schedules WHERE name = :name;
