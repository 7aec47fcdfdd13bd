-- name: record
-- takes: entries, a JSON array of [instance, key, kind, status, number, attempt, value, error, duration_s, wake_s]; now_us
-- index: journal's own key
-- What is done stays as it is: the fence of the outcome that brings it holds before this.
INSERT INTO {schema}_journal (instance, key, kind, status, number, attempt, value, error, duration_s, wake_us, recorded_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    CAST(json_extract(value, '$[8]') AS REAL), :now_us + CAST(json_extract(value, '$[9]') * 1000000 AS INTEGER), :now_us
FROM json_each(:entries) WHERE true
ON CONFLICT (instance, key) DO UPDATE
SET status = excluded.status, number = excluded.number, attempt = excluded.attempt, value = excluded.value, error = excluded.error,
    duration_s = excluded.duration_s, wake_us = excluded.wake_us, recorded_us = excluded.recorded_us
WHERE {schema}_journal.status <> 'done';

-- name: notes
-- takes: ids, a JSON array; now_us
-- gives: what they have recorded, in the order of the first time
-- index: journal's own key
SELECT instance, key, kind, status, number, attempt, value, error, duration_s, wake_us,
    (wake_us - :now_us) / 1000000.0, recorded_us
FROM {schema}_journal WHERE instance IN (SELECT value FROM json_each(:ids)) ORDER BY instance, number, key;

-- name: left
-- takes: waits, a JSON array of [instance, key]; now_us
-- gives: instance, key and the seconds left of each that has a time
-- index: journal's own key
SELECT j.instance, j.key, (j.wake_us - :now_us) / 1000000.0
FROM json_each(:waits) AS w CROSS JOIN {schema}_journal AS j
    ON j.instance = json_extract(w.value, '$[0]') AND j.key = json_extract(w.value, '$[1]')
WHERE j.wake_us IS NOT NULL;

-- name: unrecord
-- takes: id; keys, a JSON array
-- index: journal's own key
DELETE FROM {schema}_journal WHERE instance = :id AND key IN (SELECT value FROM json_each(:keys));

-- name: rerecord
-- takes: id; results, a JSON array of [key, value]
-- index: journal's own key
-- What an operator says that steps gave.
UPDATE {schema}_journal SET status = 'done', value = r.value, error = NULL, wake_us = NULL
FROM (SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS value FROM json_each(:results)) AS r
WHERE {schema}_journal.instance = :id AND {schema}_journal.key = r.key;

-- name: forget_journal
-- takes: ids, a JSON array of instances that are deleted in the same transaction
-- index: journal's own key
DELETE FROM {schema}_journal WHERE instance IN (SELECT value FROM json_each(:ids));

-- name: pending
-- takes: limit
-- gives: inputs that live instances wait for, those first that have waited longest: instance, its program, key, value,
-- since when and until when
-- index: journal_pending, then the instances' primary key
SELECT j.instance, i.program, j.key, j.value, j.recorded_us, j.wake_us
FROM {schema}_journal AS j INDEXED BY {schema}_journal_pending CROSS JOIN {schema}_instances AS i ON i.id = j.instance
WHERE j.kind = 'input' AND j.status = 'waiting' AND i.finished_us IS NULL
ORDER BY j.recorded_us, j.instance LIMIT :limit;
