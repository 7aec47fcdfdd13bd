-- What a workflow has recorded: a row for each step, wait and child, by a key that its code gives it.
--
-- `number` is the order in which they were recorded first. `wake_at` is when a wait is over in any case, or when a failed
-- attempt is made again. `value` and `error` are JSON texts.
CREATE TABLE {schema}.journal (
    instance uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    attempt integer NOT NULL,
    value text,
    error text,
    duration_s double precision,
    wake_at timestamptz,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (instance, key)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.1
);

-- serves: pending
CREATE INDEX journal_pending ON {schema}.journal (recorded_at, instance) WHERE kind = 'input' AND status = 'waiting';
