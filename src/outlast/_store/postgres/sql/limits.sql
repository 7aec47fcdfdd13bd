-- name: declare
-- takes: node; names and slots of its concurrency limits as parallel arrays
-- Others' limits are dropped with their nodes.
WITH gone AS (
    DELETE FROM {schema}.gates WHERE node <> :node AND node NOT IN (SELECT id FROM {schema}.nodes)
)
INSERT INTO {schema}.gates (name, node, slots)
SELECT g.name, :node, g.slots FROM unnest(:names::text[], :slots::integer[]) AS g (name, slots)
ON CONFLICT (name, node) DO UPDATE SET slots = EXCLUDED.slots;

-- name: declare_rates
-- takes: names, allowed, periods_s and bursts of rate limits as parallel arrays
INSERT INTO {schema}.rates (name, allowed, period_s, burst)
SELECT r.name, r.allowed, r.period_s, r.burst
FROM unnest(:names::text[], :allowed::double precision[], :periods_s::double precision[], :bursts::double precision[])
    AS r (name, allowed, period_s, burst)
ORDER BY r.name
ON CONFLICT (name) DO UPDATE SET allowed = EXCLUDED.allowed, period_s = EXCLUDED.period_s, burst = EXCLUDED.burst
WHERE (rates.allowed, rates.period_s, rates.burst) <> (EXCLUDED.allowed, EXCLUDED.period_s, EXCLUDED.burst);

-- name: gates
-- gives: name and slots of the concurrency limits in effect
SELECT g.name, min(g.slots) FROM {schema}.gates AS g JOIN {schema}.nodes AS n ON n.id = g.node
GROUP BY g.name ORDER BY g.name;

-- name: rates
SELECT name, allowed, period_s, burst FROM {schema}.rates ORDER BY name;

-- name: lock_keys
-- takes: keys
-- gives: nothing of use. Until the transaction ends nobody else admits to these keys. 256 locks serve all keys, so that
-- no number of keys fills the server's lock table; they are taken in one order.
SELECT pg_advisory_xact_lock(s.space, s.stripe)
FROM (
    SELECT DISTINCT hashtext('{schema}') AS space, hashtext(k.key) & 255 AS stripe FROM unnest(:keys::text[]) AS k (key)
    ORDER BY stripe
    OFFSET 0
) AS s;

-- name: free_slots
-- takes: keys and their names as parallel arrays, locked
-- gives: key, how many slots it has, and the numbers of those in use
-- index: instances_slot
SELECT k.key, COALESCE((SELECT min(g.slots) FROM {schema}.gates AS g JOIN {schema}.nodes AS n ON n.id = g.node
        WHERE g.name = k.name), 1),
    ARRAY(SELECT i.slot FROM {schema}.instances AS i WHERE i.concurrency_key = k.key AND i.slot IS NOT NULL)
FROM unnest(:keys::text[], :names::text[]) AS k (key, name);

-- name: lock_buckets
-- takes: rate limits and their names as parallel arrays, sorted; now or null
-- gives: rate limit and tokens now, of those whose limit is known; locked. A bucket that is missing is made, full.
-- A clock that goes back adds nothing.
INSERT INTO {schema}.buckets AS b (rate_limit, tokens, refilled_at)
SELECT k.rate_limit, r.burst, COALESCE(:now::timestamptz, clock_timestamp())
FROM unnest(:rate_limits::text[], :names::text[]) AS k (rate_limit, name)
JOIN {schema}.rates AS r ON r.name = k.name
ORDER BY k.rate_limit
ON CONFLICT (rate_limit) DO UPDATE
SET tokens = (SELECT LEAST(r.burst, b.tokens + r.allowed / r.period_s * GREATEST(0,
        extract(epoch FROM COALESCE(:now, clock_timestamp()) - b.refilled_at))) FROM {schema}.rates AS r
        WHERE r.name = CASE WHEN right(b.rate_limit, 1) = ']' THEN split_part(b.rate_limit, '[', 1)
            ELSE b.rate_limit END),
    refilled_at = COALESCE(:now, clock_timestamp())
RETURNING b.rate_limit, b.tokens;

-- name: spend
-- takes: rate limits, the tokens that are taken, and the weight that waits (or null), as parallel arrays; locked
UPDATE {schema}.buckets AS b
SET tokens = b.tokens - o.spent,
    wake_at = CASE WHEN o.wanted IS NULL THEN b.wake_at
        ELSE b.refilled_at + GREATEST(0.01, LEAST(60, (o.wanted - b.tokens + o.spent) * r.period_s / r.allowed))
            * interval '1 second' END
FROM unnest(:rate_limits::text[], :names::text[], :spent::double precision[], :wanted::double precision[])
    AS o (rate_limit, name, spent, wanted)
JOIN {schema}.rates AS r ON r.name = o.name
WHERE b.rate_limit = o.rate_limit;

-- name: grant
-- takes: claims that may run, as parallel arrays: ids, epochs, slots (or null)
-- gives: the ids of those that are still ours
-- index: primary key
UPDATE {schema}.instances AS i SET slot = o.slot
FROM unnest(:ids::uuid[], :epochs::bigint[], :slots::integer[]) AS o (id, epoch, slot)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running'
RETURNING i.id::text;

-- name: deny
-- takes: claims that must wait, as parallel arrays: ids, epochs, gates
-- index: primary key
UPDATE {schema}.instances AS i SET status = 'blocked', node = NULL, deadline_at = NULL, blocked_on = o.gate
FROM unnest(:ids::uuid[], :epochs::bigint[], :gates::text[]) AS o (id, epoch, gate)
WHERE i.id = ANY (:ids) AND i.id = o.id AND i.epoch = o.epoch AND i.status = 'running';

-- name: open_keys
-- takes: keys and their names as parallel arrays, locked
-- gives: queues of the rows that may try now
-- index: instances_blocked, instances_slot, instances_ready_keyed, then the primary key
-- Of each line (queue, program, version) as many are ready as the key has free slots: a line that nobody serves, or that
-- is long, keeps no other line waiting. Should one that is more urgent than the ready ones come, it may try, too.
WITH RECURSIVE gate AS (
    SELECT k.key, COALESCE((SELECT min(g.slots) FROM {schema}.gates AS g JOIN {schema}.nodes AS n ON n.id = g.node
            WHERE g.name = k.name), 1)
        - (SELECT count(*) FROM {schema}.instances AS i WHERE i.concurrency_key = k.key AND i.slot IS NOT NULL) AS free
    FROM unnest(:keys::text[], :names::text[]) AS k (key, name)
), line AS (
    SELECT g.key, g.free, b.queue, b.program, b.version
    FROM gate AS g CROSS JOIN LATERAL (
        SELECT i.queue, i.program, i.version FROM {schema}.instances AS i WHERE i.blocked_on = 'k:' || g.key
        ORDER BY i.queue, i.program, i.version LIMIT 1
    ) AS b
    WHERE g.free > 0
    UNION ALL
    SELECT l.key, l.free, b.queue, b.program, b.version
    FROM line AS l CROSS JOIN LATERAL (
        SELECT i.queue, i.program, i.version FROM {schema}.instances AS i
        WHERE i.blocked_on = 'k:' || l.key AND (i.queue, i.program, i.version) > (l.queue, l.program, l.version)
        ORDER BY i.queue, i.program, i.version LIMIT 1
    ) AS b
), chosen AS (
    SELECT c.id
    FROM line AS l CROSS JOIN LATERAL (
        SELECT count(*) AS ready, max(i.priority) AS worst FROM {schema}.instances AS i
        WHERE i.status = 'ready' AND i.concurrency_key = l.key AND i.queue = l.queue AND i.program = l.program
            AND i.version = l.version
    ) AS r CROSS JOIN LATERAL (
        SELECT i.id FROM {schema}.instances AS i
        WHERE i.blocked_on = 'k:' || l.key AND i.queue = l.queue AND i.program = l.program AND i.version = l.version
        ORDER BY i.priority, i.due_at, i.id
        LIMIT GREATEST(l.free - r.ready, CASE WHEN r.worst > (
            SELECT i.priority FROM {schema}.instances AS i
            WHERE i.blocked_on = 'k:' || l.key AND i.queue = l.queue AND i.program = l.program AND i.version = l.version
            ORDER BY i.priority LIMIT 1) THEN 1 ELSE 0 END)
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS c
)
UPDATE {schema}.instances SET status = 'ready', blocked_on = NULL
WHERE id = ANY (ARRAY(SELECT chosen.id FROM chosen)) AND status = 'blocked' AND blocked_on IS NOT NULL
RETURNING queue;

-- name: open_rates
-- takes: rate limits and their tokens as parallel arrays, locked; open_max, rows of one line at most
-- gives: queue of each row that may try now
-- index: instances_blocked, instances_ready_rated, then the primary key
-- Of each line as many are ready as there are tokens for.
WITH RECURSIVE gate AS (
    SELECT k.rate_limit, k.tokens + 1e-9 AS tokens
    FROM unnest(:rate_limits::text[], :tokens::double precision[]) AS k (rate_limit, tokens)
), line AS (
    SELECT g.rate_limit, g.tokens, b.queue, b.program, b.version
    FROM gate AS g CROSS JOIN LATERAL (
        SELECT i.queue, i.program, i.version FROM {schema}.instances AS i WHERE i.blocked_on = 'r:' || g.rate_limit
        ORDER BY i.queue, i.program, i.version LIMIT 1
    ) AS b
    UNION ALL
    SELECT l.rate_limit, l.tokens, b.queue, b.program, b.version
    FROM line AS l CROSS JOIN LATERAL (
        SELECT i.queue, i.program, i.version FROM {schema}.instances AS i
        WHERE i.blocked_on = 'r:' || l.rate_limit AND (i.queue, i.program, i.version) > (l.queue, l.program, l.version)
        ORDER BY i.queue, i.program, i.version LIMIT 1
    ) AS b
), chosen AS (
    SELECT w.id
    FROM line AS l CROSS JOIN LATERAL (
        SELECT COALESCE(sum(i.rate_weight), 0) AS ready FROM {schema}.instances AS i
        WHERE i.status = 'ready' AND i.rate_limit = l.rate_limit AND i.queue = l.queue AND i.program = l.program
            AND i.version = l.version
    ) AS r CROSS JOIN LATERAL (
        SELECT b.id, sum(b.rate_weight) OVER (ORDER BY b.priority, b.due_at, b.id) AS weight
        FROM (
            SELECT i.id, i.rate_weight, i.priority, i.due_at FROM {schema}.instances AS i
            WHERE i.blocked_on = 'r:' || l.rate_limit AND i.queue = l.queue AND i.program = l.program
                AND i.version = l.version
            ORDER BY i.priority, i.due_at, i.id
            LIMIT :open_max::bigint
        ) AS b
    ) AS w
    WHERE w.weight <= l.tokens - r.ready
)
UPDATE {schema}.instances SET status = 'ready', blocked_on = NULL
WHERE id = ANY (ARRAY(SELECT chosen.id FROM chosen)) AND status = 'blocked' AND blocked_on IS NOT NULL
RETURNING queue;

-- name: sleep_buckets
-- takes: rate limits and their names as parallel arrays, locked
-- When they are looked at again: when the next one that waits can have its tokens; never, when nobody waits.
-- index: instances_blocked
UPDATE {schema}.buckets AS b
SET wake_at = CASE WHEN w.weight IS NOT NULL THEN b.refilled_at + GREATEST(0.01, LEAST(60,
        (w.weight - LEAST(b.tokens, w.weight)) * r.period_s / r.allowed)) * interval '1 second' END
FROM unnest(:rate_limits::text[], :names::text[]) AS o (rate_limit, name)
JOIN {schema}.rates AS r ON r.name = o.name
LEFT JOIN LATERAL (
    SELECT i.rate_weight AS weight FROM {schema}.instances AS i WHERE i.blocked_on = 'r:' || o.rate_limit
    ORDER BY i.queue, i.program, i.version, i.priority, i.due_at, i.id LIMIT 1
) AS w ON true
WHERE b.rate_limit = o.rate_limit;

-- name: lock_due_buckets
-- takes: bucket_max; now or null
-- gives: rate limits whose time has come; what another node is at is left to it
-- index: buckets_wake
SELECT rate_limit FROM {schema}.buckets
WHERE wake_at IS NOT NULL AND wake_at <= COALESCE(:now::timestamptz, clock_timestamp())
ORDER BY wake_at LIMIT :bucket_max::bigint
FOR UPDATE SKIP LOCKED;

-- name: find_gates
-- takes: after, the gate to go on behind; gate_max
-- gives: gates at which somebody waits
-- index: instances_blocked
WITH RECURSIVE gate AS (
    (SELECT blocked_on FROM {schema}.instances WHERE blocked_on > :after::text ORDER BY blocked_on LIMIT 1)
    UNION ALL
    SELECT n.blocked_on FROM gate AS g CROSS JOIN LATERAL (
        SELECT i.blocked_on FROM {schema}.instances AS i WHERE i.blocked_on > g.blocked_on
        ORDER BY i.blocked_on LIMIT 1
    ) AS n
)
SELECT blocked_on FROM gate LIMIT :gate_max::bigint;

-- name: prune_buckets
-- takes: after, the bucket to go on behind; bucket_max; now or null
-- gives: how many buckets were deleted, how many were looked at, and the last of these
-- index: the buckets' own key
-- A full bucket that nobody waits for is as good as none; so is one of a limit that nobody has declared.
WITH page AS (
    SELECT rate_limit FROM {schema}.buckets WHERE rate_limit > :after::text ORDER BY rate_limit LIMIT :bucket_max::bigint
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {schema}.buckets AS b
    WHERE b.rate_limit = ANY (ARRAY(SELECT page.rate_limit FROM page)) AND b.wake_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM {schema}.rates AS r
        WHERE r.name = CASE WHEN right(b.rate_limit, 1) = ']' THEN split_part(b.rate_limit, '[', 1) ELSE b.rate_limit END
            AND b.tokens + r.allowed / r.period_s
                * extract(epoch FROM COALESCE(:now::timestamptz, clock_timestamp()) - b.refilled_at) < r.burst
    )
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM page), (SELECT max(rate_limit) FROM page);
