-- name: drop_gates
-- takes: node, which is spared
DELETE FROM {schema}_gates WHERE node <> :node AND node NOT IN (SELECT id FROM {schema}_nodes);

-- name: declare
-- takes: node; limits, a JSON array of [name, slots]
INSERT INTO {schema}_gates (name, node, slots)
SELECT json_extract(value, '$[0]'), :node, json_extract(value, '$[1]') FROM json_each(:limits) WHERE true
ON CONFLICT (name, node) DO UPDATE SET slots = excluded.slots;

-- name: declare_rates
-- takes: limits, a JSON array of [name, allowed, period_s, burst]
INSERT INTO {schema}_rates (name, allowed, period_s, burst)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]')
FROM json_each(:limits) WHERE true
ON CONFLICT (name) DO UPDATE SET allowed = excluded.allowed, period_s = excluded.period_s, burst = excluded.burst;

-- name: gates
-- gives: name and slots of the concurrency limits in effect
SELECT g.name, min(g.slots) FROM {schema}_gates AS g JOIN {schema}_nodes AS n ON n.id = g.node
GROUP BY g.name ORDER BY g.name;

-- name: rates
SELECT name, allowed, period_s, burst FROM {schema}_rates ORDER BY name;

-- name: slots_of
-- takes: name
-- gives: its slots in effect, or null
SELECT min(g.slots) FROM {schema}_gates AS g JOIN {schema}_nodes AS n ON n.id = g.node WHERE g.name = :name;

-- name: used_slots
-- takes: key
-- gives: one JSON array of the slots of it that are in use
-- index: instances_slot
SELECT json_group_array(slot) FROM {schema}_instances WHERE concurrency_key = :key AND slot IS NOT NULL;

-- name: bucket
-- takes: rate_limit; name
-- gives: allowed, period_s and burst of the limit; tokens and when they were counted, or null. No row: it is unknown.
SELECT r.allowed, r.period_s, r.burst, b.tokens, b.refilled_us
FROM {schema}_rates AS r LEFT JOIN {schema}_buckets AS b ON b.rate_limit = :rate_limit WHERE r.name = :name;

-- name: fill
-- takes: rate_limit; tokens; now_us; wake_us or null; keeps, whether an earlier wake_us stands where there is no new one
INSERT INTO {schema}_buckets (rate_limit, tokens, refilled_us, wake_us) VALUES (:rate_limit, :tokens, :now_us, :wake_us)
ON CONFLICT (rate_limit) DO UPDATE SET tokens = excluded.tokens, refilled_us = excluded.refilled_us,
    wake_us = COALESCE(excluded.wake_us, iif(:keeps, {schema}_buckets.wake_us, NULL));

-- name: due_buckets
-- takes: now_us; limit
-- gives: one JSON array of the rate limits whose time has come
-- index: buckets_wake
SELECT json_group_array(rate_limit) FROM (
    SELECT rate_limit FROM {schema}_buckets WHERE wake_us IS NOT NULL AND wake_us <= :now_us ORDER BY wake_us LIMIT :limit
);

-- name: grant
-- takes: granted, a JSON array of [id, epoch, slot]
-- index: primary key
UPDATE {schema}_instances SET slot = o.slot
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch, json_extract(value, '$[2]') AS slot
    FROM json_each(:granted)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running';

-- name: deny
-- takes: denied, a JSON array of [id, epoch, gate]
-- index: primary key
UPDATE {schema}_instances SET status = 'blocked', node = NULL, deadline_us = NULL, blocked_on = o.gate
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch, json_extract(value, '$[2]') AS gate
    FROM json_each(:denied)
) AS o
WHERE {schema}_instances.id = o.id AND {schema}_instances.epoch = o.epoch AND {schema}_instances.status = 'running';

-- name: next_line
-- takes: gate; queue, program and version to go on behind
-- gives: the next queue, program and version of which some wait at the gate
-- index: instances_blocked
-- why not >: SQLite looks for what is equal, too, and would read all that wait in the line before.
SELECT queue, program, version FROM {schema}_instances
WHERE blocked_on = :gate AND (queue, program, version) >= (:queue, :program, :version + 1)
ORDER BY queue, program, version LIMIT 1;

-- name: ready_keyed
-- takes: limit_text, a key; queue; program; version
-- gives: how many of the line are ready, and the priority of the least urgent of them
-- index: instances_ready_keyed
SELECT count(*), max(priority) FROM {schema}_instances
WHERE status = 'ready' AND concurrency_key = :limit_text AND queue = :queue AND program = :program
    AND version = :version;

-- name: ready_rated
-- takes: limit_text, a rate limit; queue; program; version
-- gives: the weight of those of the line that are ready
-- index: instances_ready_rated
SELECT COALESCE(sum(rate_weight), 0) FROM {schema}_instances
WHERE status = 'ready' AND rate_limit = :limit_text AND queue = :queue AND program = :program AND version = :version;

-- name: pick
-- takes: gate; queue; program; version; limit
-- gives: one JSON array of [id, weight, priority] of those of the line that wait at the gate, most urgent first
-- index: instances_blocked
SELECT json_group_array(json_array(id, rate_weight, priority)) FROM (
    SELECT id, rate_weight, priority FROM {schema}_instances
    WHERE blocked_on = :gate AND queue = :queue AND program = :program AND version = :version
    ORDER BY priority, due_us, id LIMIT :limit
);

-- name: unblock
-- takes: ids, a JSON array
-- index: primary key
UPDATE {schema}_instances SET status = 'ready', blocked_on = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'blocked' AND blocked_on IS NOT NULL;

-- name: first_waiting
-- takes: gate
-- gives: the weight of the first that waits at it
-- index: instances_blocked
SELECT rate_weight FROM {schema}_instances WHERE blocked_on = :gate
ORDER BY queue, program, version, priority, due_us, id LIMIT 1;

-- name: next_gate
-- takes: after
-- gives: the next gate at which somebody waits
-- index: instances_blocked
SELECT blocked_on FROM {schema}_instances WHERE blocked_on > :after ORDER BY blocked_on LIMIT 1;

-- name: next_buckets
-- takes: after, the bucket to go on behind; limit
-- gives: one JSON array of buckets
-- index: the buckets' own key
SELECT json_group_array(rate_limit) FROM (
    SELECT rate_limit FROM {schema}_buckets WHERE rate_limit > :after ORDER BY rate_limit LIMIT :limit
);

-- name: prune_buckets
-- takes: buckets, as given by next_buckets; now_us
-- A full bucket that nobody waits for is as good as none; so is one of a limit that nobody has declared.
DELETE FROM {schema}_buckets
WHERE rate_limit IN (SELECT value FROM json_each(:buckets)) AND wake_us IS NULL AND NOT EXISTS (
    SELECT 1 FROM {schema}_rates AS r
    WHERE r.name = iif({schema}_buckets.rate_limit LIKE '%]',
            substr({schema}_buckets.rate_limit, 1, instr({schema}_buckets.rate_limit, '[') - 1), {schema}_buckets.rate_limit)
        AND tokens + r.allowed / r.period_s * (:now_us - refilled_us) / 1000000.0 < r.burst
);
