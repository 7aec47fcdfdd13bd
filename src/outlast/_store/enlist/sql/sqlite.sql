-- name: add
-- takes: rows, a JSON array of objects with the fields of NewInstance; now_us
-- gives: 1 for each row inserted; a row whose id or correlation key is taken is left out
-- index: primary key, instances_key
-- Must begin with INSERT: by that word Python's sqlite3 knows that it has to open a transaction.
INSERT INTO {schema}_instances (id, program, version, queue, priority, step, state, correlation_key, correlation_scope,
    timeout_s, status, due_us, created_us, concurrency_key, rate_limit, rate_weight, fair_key, fair_weight, trace, tags)
SELECT r.id, r.program, r.version, r.queue, r.priority, r.step, r.state, r.correlation_key, r.correlation_scope,
    r.timeout_s,
    CASE WHEN r.due_us > :now_us OR r.concurrency_key IS NOT NULL OR r.rate_limit IS NOT NULL THEN 'scheduled'
        ELSE 'ready' END,
    r.due_us, :now_us, r.concurrency_key, r.rate_limit, r.rate_weight, r.fair_key, r.fair_weight, r.trace, r.tags
FROM (
    SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.program') AS program,
        json_extract(value, '$.version') AS version, json_extract(value, '$.queue') AS queue,
        json_extract(value, '$.priority') AS priority, json_extract(value, '$.step') AS step,
        json_extract(value, '$.state') AS state, json_extract(value, '$.correlation_key') AS correlation_key,
        json_extract(value, '$.correlation_scope') AS correlation_scope,
        CAST(json_extract(value, '$.timeout_s') AS REAL) AS timeout_s,
        COALESCE(json_extract(value, '$.due_us'),
            :now_us + CAST(COALESCE(json_extract(value, '$.delay_s'), 0) * 1000000 AS INTEGER)) AS due_us,
        json_extract(value, '$.concurrency_key') AS concurrency_key, json_extract(value, '$.rate_limit') AS rate_limit,
        json_extract(value, '$.rate_weight') AS rate_weight, json_extract(value, '$.fair_key') AS fair_key,
        json_extract(value, '$.fair_weight') AS fair_weight, json_extract(value, '$.trace') AS trace,
        json_extract(value, '$.tags') AS tags
    FROM json_each(:rows)
) AS r
WHERE true
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: tag
-- takes: rows as for add
-- gives: 1 for each tag of those that were inserted, by which they are found
-- index: the tags' own, then the primary key
INSERT INTO {schema}_tags (name, value, instance)
SELECT t.key, t.value, i.id
FROM json_each(:rows) AS g CROSS JOIN {schema}_instances AS i ON i.id = json_extract(g.value, '$.id')
CROSS JOIN json_each(i.tags) AS t
WHERE i.tags = json_extract(g.value, '$.tags')
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: holders
-- takes: rows as for add
-- gives: those that are not in the table: id, key, id of the key's holder (or null)
-- index: primary key, instances_key
SELECT json_extract(r.value, '$.id'), json_extract(r.value, '$.correlation_key'), held.id
FROM json_each(:rows) AS r
LEFT JOIN {schema}_instances AS held ON held.correlation_key = json_extract(r.value, '$.correlation_key')
    AND instr(held.correlation_scope, ',' || held.status || ',') > 0
WHERE NOT EXISTS (SELECT 1 FROM {schema}_instances AS mine WHERE mine.id = json_extract(r.value, '$.id'));
