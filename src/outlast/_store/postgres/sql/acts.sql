-- name: note_act
-- takes: ids of instances; id, act, who, reason, detail; now or null
-- gives: the count of those noted; what an earlier try has noted is left out
-- index: the acts' own key
INSERT INTO {schema}.acts (instance, id, at, act, who, reason, detail)
SELECT i.id, :id::uuid, COALESCE(:now::timestamptz, now()), :act::text, :who::text, :reason::text, :detail::text
FROM unnest(:ids::uuid[]) AS i (id)
ON CONFLICT DO NOTHING;

-- name: acts
-- takes: instance
-- gives: what operators have done with it, oldest first
-- index: the acts' own key
SELECT instance::text, id::text, at, act, who, reason, detail FROM {schema}.acts
WHERE instance = :instance::uuid ORDER BY at, acts.id;

-- name: forget_acts
-- takes: ids of instances that are deleted in the same transaction
-- index: the acts' own key
DELETE FROM {schema}.acts WHERE instance = ANY (:ids::uuid[]);

-- name: pause_instances
-- takes: ids, locked in the same transaction; reason; now or null
-- gives: id, node and queue of those that this pauses
-- index: primary key
-- An operator's act. Who runs one goes on to the end of its step: its next commit tells it.
UPDATE {schema}.instances SET paused_at = COALESCE(:now::timestamptz, now()), pause_reason = :reason, blocked_on = NULL
WHERE id = ANY (:ids::uuid[]) AND paused_at IS NULL AND finished_at IS NULL
RETURNING instances.id::text, node, queue;

-- name: hold
-- takes: ids, which this transaction has paused
-- index: primary key
UPDATE {schema}.instances SET status = 'blocked' WHERE id = ANY (:ids::uuid[]) AND status = 'ready';

-- name: unhold
-- takes: ids, which this transaction is to resume, locked
-- index: primary key
-- What has a limit goes back to the timekeeper, which admits such rows.
UPDATE {schema}.instances
SET status = CASE WHEN concurrency_key IS NULL AND rate_limit IS NULL THEN 'ready' ELSE 'scheduled' END
WHERE id = ANY (:ids::uuid[]) AND status = 'blocked' AND paused_at IS NOT NULL;

-- name: resume_instances
-- takes: ids, locked in the same transaction
-- gives: id, node and queue of those that this resumes
-- index: primary key
UPDATE {schema}.instances SET paused_at = NULL, pause_reason = NULL
WHERE id = ANY (:ids::uuid[]) AND paused_at IS NOT NULL
RETURNING instances.id::text, node, queue;

-- name: retry
-- takes: id; epoch, as it stood when the retry was planned, or null; step, state and version, each null to keep it; fresh,
-- whether its children are numbered anew; now or null
-- gives: the count of rows changed
-- index: primary key
-- An operator's act; may meet the unique key of a successor. A rate limit, and what a step was woken by, hold for the step
-- they were named for.
UPDATE {schema}.instances AS i
SET status = CASE WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL AND i.paused_at IS NULL THEN 'ready'
        ELSE 'scheduled' END,
    attempt = 0, crashes = 0, due_at = COALESCE(:now::timestamptz, now()), finished_at = NULL, expires_at = NULL,
    result = NULL, progress = NULL, progress_note = NULL, awaits = CASE WHEN :step::text IS NULL THEN i.awaits END,
    rate_limit = CASE WHEN :step IS NULL THEN i.rate_limit END, step = COALESCE(:step, i.step),
    state = COALESCE(:state::text, i.state), version = COALESCE(:version::integer, i.version),
    spawns = i.spawns + :fresh::integer
WHERE i.id = :id::uuid AND i.status IN ('failed', 'cancelled', 'compensated', 'compensation_failed', 'quarantined')
    AND (:epoch::bigint IS NULL OR i.epoch = :epoch);
