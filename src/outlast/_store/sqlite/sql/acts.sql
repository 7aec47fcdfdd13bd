-- name: note_act
-- takes: ids, a JSON array of instances; id, act, who, reason, detail; now_us
-- gives: the count of those noted; what an earlier try has noted is left out
-- index: the acts' own key
INSERT INTO {schema}_acts (instance, id, at_us, act, who, reason, detail)
SELECT value, :id, :now_us, :act, :who, :reason, :detail FROM json_each(:ids) WHERE true
ON CONFLICT DO NOTHING;

-- name: acts
-- takes: instance
-- gives: what operators have done with it, oldest first
-- index: the acts' own key
SELECT instance, id, at_us, act, who, reason, detail FROM {schema}_acts WHERE instance = :instance ORDER BY at_us, id;

-- name: forget_acts
-- takes: ids, a JSON array of instances that are deleted in the same transaction
-- index: the acts' own key
DELETE FROM {schema}_acts WHERE instance IN (SELECT value FROM json_each(:ids));

-- name: find_paused
-- takes: ids, a JSON array; paused, whether to find those that are paused, or those that are not and have not ended
-- gives: one JSON array of [id, node, queue] of those found
-- index: primary key
SELECT json_group_array(json_array(id, node, queue)) FROM {schema}_instances
WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_us IS NULL AND (paused_us IS NOT NULL) = :paused;

-- name: pause_instances
-- takes: found, as given by find_paused in the same transaction; reason; now_us
-- index: primary key
-- An operator's act. Who runs one goes on to the end of its step: its next commit tells it.
UPDATE {schema}_instances SET paused_us = :now_us, pause_reason = :reason, blocked_on = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:found)) AND paused_us IS NULL AND finished_us IS NULL;

-- name: hold
-- takes: found, which this transaction has paused
-- index: primary key
UPDATE {schema}_instances SET status = 'blocked'
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:found)) AND status = 'ready';

-- name: unhold
-- takes: found, which this transaction is to resume
-- index: primary key
-- What has a limit goes back to the timekeeper, which admits such rows.
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:found)) AND status = 'blocked' AND paused_us IS NOT NULL;

-- name: resume_instances
-- takes: found, as given by find_paused in the same transaction
-- index: primary key
UPDATE {schema}_instances SET paused_us = NULL, pause_reason = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:found)) AND paused_us IS NOT NULL;

-- name: retry
-- takes: id; epoch, as it stood when the retry was planned, or null; step, state and version, each null to keep it; fresh,
-- whether its children are numbered anew; now_us
-- index: primary key
-- An operator's act; may meet the unique key of a successor. A rate limit, and what a step was woken by, hold for the step
-- they were named for.
UPDATE {schema}_instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL AND paused_us IS NULL THEN 'ready' ELSE 'scheduled' END,
    attempt = 0, crashes = 0, due_us = :now_us, finished_us = NULL, expires_us = NULL, result = NULL, progress = NULL,
    progress_note = NULL, awaits = iif(:step IS NULL, awaits, NULL), rate_limit = iif(:step IS NULL, rate_limit, NULL),
    step = COALESCE(:step, step), state = COALESCE(:state, state), version = COALESCE(:version, version),
    spawns = spawns + :fresh
WHERE id = :id AND status IN ('failed', 'cancelled', 'compensated', 'compensation_failed', 'quarantined')
    AND (:epoch IS NULL OR epoch = :epoch);
