-- name: find_targets
-- takes: numbers, ids and keys of signals as parallel arrays: each has an id of an instance or a correlation key
-- gives: number, id, status, queue and awaits of the targets that exist, all locked
-- index: primary key, instances_key
-- Locked whatever their status, in one order. What is read of a row is what it says once it is locked: a park that was
-- under way a moment ago is seen here, or sees the signal itself (recheck).
SELECT t.n, i.id::text, i.status, i.queue, i.awaits
FROM (
    SELECT g.n, COALESCE(g.id, (SELECT k.id FROM {schema}.instances AS k WHERE k.correlation_key = g.key
        AND strpos(k.correlation_scope, ',' || k.status || ',') > 0)) AS id
    FROM unnest(:numbers::integer[], :ids::uuid[], :keys::text[]) AS g (n, id, key)
    OFFSET 0
) AS t
JOIN {schema}.instances AS i ON i.id = t.id AND i.id = ANY (ARRAY(
        SELECT COALESCE(g.id, (SELECT k.id FROM {schema}.instances AS k WHERE k.correlation_key = g.key
            AND strpos(k.correlation_scope, ',' || k.status || ',') > 0))
        FROM unnest(:ids, :keys) AS g (id, key)))
ORDER BY i.id
FOR NO KEY UPDATE OF i;

-- name: known_keys
-- takes: keys
-- gives: those of which an instance has ended
-- index: instances_key_all
-- The limit keeps it a look-up for each key: as a join it would walk the whole index.
SELECT g.key FROM unnest(:keys::text[]) AS g (key)
WHERE (SELECT true FROM {schema}.instances AS i WHERE i.correlation_key = g.key AND i.finished_at IS NOT NULL LIMIT 1);

-- name: deliver
-- takes: signals as parallel arrays, their instances locked; now or null
-- gives: the ids of those stored; one that was stored before, or one with its dedup key, is left out
-- index: primary key, signals_dedup
INSERT INTO {schema}.signals (id, instance, name, payload, dedup_key, sent_at)
SELECT g.id, g.instance, g.name, g.payload, g.dedup_key, COALESCE(:now::timestamptz, clock_timestamp())
FROM unnest(:ids::uuid[], :instances::uuid[], :names::text[], :payloads::text[], :dedup_keys::text[])
    AS g (id, instance, name, payload, dedup_key)
ON CONFLICT DO NOTHING
RETURNING id::text;

-- name: wake
-- takes: ids of instances that were sent something, and whether each waits for it, as parallel arrays; all are locked;
-- now or null
-- index: primary key
UPDATE {schema}.instances AS i
SET mail = true,
    status = CASE WHEN i.status <> 'waiting' OR NOT o.waits THEN i.status
        WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL AND i.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_at = CASE WHEN i.status = 'waiting' AND o.waits THEN COALESCE(:now::timestamptz, now()) ELSE i.due_at END,
    wake_at = CASE WHEN i.status = 'waiting' AND o.waits THEN NULL ELSE i.wake_at END
FROM unnest(:ids::uuid[], :waits::boolean[]) AS o (id, waits)
WHERE i.id = ANY (:ids) AND i.id = o.id AND (NOT i.mail OR o.waits);

-- name: inbox
-- takes: ids of instances
-- gives: their unread signals, oldest first
-- index: signals_instance
SELECT id::text, instance::text, name, payload, dedup_key, sent_at, consumed_at FROM {schema}.signals
WHERE instance = ANY (:ids::uuid[]) AND consumed_at IS NULL ORDER BY sent_at, signals.id;

-- name: signals
-- gives: all that is kept of an instance's signals, oldest first
-- index: signals_instance
SELECT id::text, instance::text, name, payload, dedup_key, sent_at, consumed_at FROM {schema}.signals
WHERE instance = :id::uuid ORDER BY sent_at, signals.id;

-- name: recheck
-- takes: parks that this transaction has written: ids, awaits (JSON lists), shown (JSON lists of signal ids); now or null
-- gives: queues of the instances that were woken again at once, since what they wait for is there
-- index: signals_instance, then the primary key
UPDATE {schema}.instances AS i
SET status = CASE WHEN i.concurrency_key IS NULL AND i.rate_limit IS NULL AND i.paused_at IS NULL THEN 'ready' ELSE 'scheduled' END,
    due_at = COALESCE(:now::timestamptz, now()), wake_at = NULL
WHERE i.id = ANY (ARRAY(
        SELECT s.instance
        FROM unnest(:ids::uuid[], :awaits::text[], :shown::text[]) AS p (id, awaits, shown)
        JOIN {schema}.signals AS s ON s.instance = p.id AND s.instance = ANY (:ids)
        WHERE s.consumed_at IS NULL AND p.awaits::jsonb ? s.name AND NOT p.shown::jsonb ? s.id::text))
    AND i.status = 'waiting'
RETURNING i.queue;

-- name: consume
-- takes: instances and ids of signals as parallel arrays; kept_s; now or null
-- gives: nothing of use. What is used is kept for a while, so that the same one sent again after a lost reply is known for
-- a repetition; and for ever (until its instance goes) when it has a dedup key. What these instances used long ago goes.
-- index: primary key, signals_instance
WITH old AS (
    DELETE FROM {schema}.signals
    WHERE instance = ANY (:instances::uuid[]) AND dedup_key IS NULL
        AND consumed_at < COALESCE(:now::timestamptz, now()) - :kept_s::double precision * interval '1 second'
)
UPDATE {schema}.signals AS s SET consumed_at = COALESCE(:now, now())
FROM unnest(:ids::uuid[], :instances) AS g (id, instance)
WHERE s.id = ANY (:ids) AND s.id = g.id AND s.instance = g.instance AND s.consumed_at IS NULL;

-- name: forget
-- takes: ids of instances that are deleted in the same transaction
-- index: signals_instance
DELETE FROM {schema}.signals WHERE instance = ANY (:ids::uuid[]);

-- name: put_back
-- takes: instance; ids, names and payloads of letters as parallel arrays; now or null
-- index: signals_instance
-- Signals whose use was forgotten are there again, before all that are unread: they were used because they came first.
INSERT INTO {schema}.signals (id, instance, name, payload, sent_at)
SELECT l.id, :instance::uuid, l.name, l.payload,
    COALESCE((SELECT min(s.sent_at) FROM {schema}.signals AS s WHERE s.instance = :instance AND s.consumed_at IS NULL),
        :now::timestamptz, now()) - interval '1 microsecond'
FROM unnest(:ids::uuid[], :names::text[], :payloads::text[]) AS l (id, name, payload)
ON CONFLICT DO NOTHING;
