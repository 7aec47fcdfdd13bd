-- name: find_due
-- gives: one JSON array of [id, queue, gate]: what has a limit must wait at its gate; no queue where it is paused
-- index: instances_due
SELECT json_group_array(json_array(id, iif(paused_us IS NULL, queue, NULL),
    iif(paused_us IS NULL, COALESCE('r:' || rate_limit, 'k:' || concurrency_key), NULL)))
FROM (
    SELECT id, queue, rate_limit, concurrency_key, paused_us FROM {schema}_instances
    WHERE status = 'scheduled' AND due_us <= :now_us ORDER BY due_us LIMIT :limit
);

-- name: promote
-- takes: due, as given by find_due in the same transaction
-- What is paused is blocked on no gate: nobody but its resume lets it go on.
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'blocked' END,
    blocked_on = iif(paused_us IS NULL, COALESCE('r:' || rate_limit, 'k:' || concurrency_key), NULL)
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:due)) AND status = 'scheduled';

-- name: find_late
-- gives: one JSON array of [id, queue] of those whose time to wait is over
-- index: instances_wake
SELECT json_group_array(json_array(id, queue))
FROM (
    SELECT id, queue FROM {schema}_instances WHERE wake_us IS NOT NULL AND wake_us <= :now_us ORDER BY wake_us
    LIMIT :limit
);

-- name: wake_late
-- takes: late, as given by find_late in the same transaction; now_us
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_us = :now_us, wake_us = NULL, pending = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:late)) AND status = 'waiting';

-- name: next_due
-- gives: when the next scheduled instance is due, when the next waiting one has waited long enough, and when the next rate
-- limit is looked at; or null
-- index: instances_due, instances_wake
SELECT (SELECT min(due_us) FROM {schema}_instances WHERE status = 'scheduled'),
    (SELECT min(wake_us) FROM {schema}_instances WHERE wake_us IS NOT NULL),
    (SELECT min(wake_us) FROM {schema}_buckets WHERE wake_us IS NOT NULL);

-- name: hurry
-- takes: ids; now_us
-- index: primary key
UPDATE {schema}_instances
SET due_us = CASE WHEN status = 'scheduled' THEN min(due_us, :now_us) ELSE due_us END, wake_us = min(wake_us, :now_us)
WHERE id IN (SELECT value FROM json_each(:ids)) AND status IN ('scheduled', 'waiting');
