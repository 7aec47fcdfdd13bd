-- name: record
-- takes: entries as parallel arrays, sorted by instance and key; now or null
-- index: journal's own key
-- What is done stays as it is: the fence of the outcome that brings it holds before this.
INSERT INTO {schema}.journal AS j (instance, key, kind, status, number, attempt, value, error, duration_s, wake_at, recorded_at)
SELECT e.instance, e.key, e.kind, e.status, e.number, e.attempt, e.value, e.error, e.duration_s,
    COALESCE(:now::timestamptz, now()) + e.wake_s * interval '1 second', COALESCE(:now, now())
FROM unnest(:instances::uuid[], :keys::text[], :kinds::text[], :entry_statuses::text[], :numbers::integer[], :entry_attempts::integer[],
        :values::text[], :entry_errors::text[], :durations_s::double precision[], :wakes_s::double precision[])
    AS e (instance, key, kind, status, number, attempt, value, error, duration_s, wake_s)
ON CONFLICT (instance, key) DO UPDATE
SET status = EXCLUDED.status, number = EXCLUDED.number, attempt = EXCLUDED.attempt, value = EXCLUDED.value, error = EXCLUDED.error,
    duration_s = EXCLUDED.duration_s, wake_at = EXCLUDED.wake_at, recorded_at = EXCLUDED.recorded_at
WHERE j.status <> 'done';

-- name: notes
-- takes: ids of instances; now or null
-- gives: what they have recorded, in the order of the first time
-- index: journal's own key
SELECT instance::text, key, kind, status, number, attempt, value, error, duration_s, wake_at,
    extract(epoch FROM wake_at - COALESCE(:now::timestamptz, clock_timestamp()))::double precision, recorded_at
FROM {schema}.journal WHERE instance = ANY (:ids::uuid[]) ORDER BY instance, number, key;

-- name: left
-- takes: instances and keys, parallel arrays; now or null
-- gives: instance, key and the seconds left of each that has a time
-- index: journal's own key
SELECT j.instance::text, j.key,
    extract(epoch FROM j.wake_at - COALESCE(:now::timestamptz, clock_timestamp()))::double precision
FROM unnest(:instances::uuid[], :keys::text[]) AS w (instance, key)
CROSS JOIN LATERAL (
    SELECT n.instance, n.key, n.wake_at FROM {schema}.journal AS n
    WHERE n.instance = w.instance AND n.key = w.key AND n.wake_at IS NOT NULL LIMIT 1
) AS j;

-- name: unrecord
-- takes: id; keys
-- index: journal's own key
DELETE FROM {schema}.journal WHERE instance = :id::uuid AND key = ANY (:keys::text[]);

-- name: rerecord
-- takes: id; keys and values as parallel arrays
-- index: journal's own key
-- What an operator says that steps gave.
UPDATE {schema}.journal AS j SET status = 'done', value = r.value, error = NULL, wake_at = NULL
FROM unnest(:keys::text[], :values::text[]) AS r (key, value)
WHERE j.instance = :id::uuid AND j.key = r.key;

-- name: forget_journal
-- takes: ids of instances that are deleted in the same transaction
-- index: journal's own key
DELETE FROM {schema}.journal WHERE instance = ANY (:ids::uuid[]);

-- name: pending
-- takes: pending_max
-- gives: inputs that live instances wait for, those first that have waited longest: instance, its program, key, value,
-- since when and until when
-- index: journal_pending, then the instances' primary key
SELECT j.instance::text, i.program, j.key, j.value, j.recorded_at, j.wake_at
FROM {schema}.journal AS j CROSS JOIN LATERAL (
    SELECT n.program FROM {schema}.instances AS n WHERE n.id = j.instance AND n.finished_at IS NULL LIMIT 1
) AS i
WHERE j.kind = 'input' AND j.status = 'waiting'
ORDER BY j.recorded_at, j.instance LIMIT :pending_max::bigint;
