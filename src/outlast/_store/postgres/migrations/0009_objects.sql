-- Objects: who owns them, their alarms, and the calls that travel to them.
--
-- An object is (type, id): two columns, never one text. `node` owns it, as long as that node has a row in `nodes`. `epoch`
-- counts changes of ownership: every write of an owner names node and epoch. `commits` counts writes, and `commit_epoch` is
-- the ownership whose write was the last, so that a repeated one can tell "mine, done" from "no longer mine". `born` is the
-- epoch in which it was made. One that was deleted is kept for a while without a state, so that both go on counting:
-- what was written to the old one neither is taken for a loss nor changes a new one.
--
-- Rows are written again and again in place: no index may change with it, and a page needs room for it.
CREATE TABLE {schema}.objects (
    type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    state text,
    node text COLLATE "C",
    epoch bigint NOT NULL,
    born bigint NOT NULL,
    commits bigint NOT NULL DEFAULT 0,
    commit_epoch bigint NOT NULL DEFAULT 0,
    expires_s double precision,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (type, id),
    CHECK (state IS NOT NULL OR node IS NULL)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_limit = 2000
);

-- serves: release_all
CREATE INDEX objects_node ON {schema}.objects (node, type, id) WHERE node IS NOT NULL;
-- serves: lock_expired_objects
CREATE INDEX objects_expired ON {schema}.objects (expires_at) WHERE expires_at IS NOT NULL;

-- Alarms, by object and name. One that was set again has another `revision`. `failed_at` is when the last attempt failed
-- for good: it stays, for people to see, and is not due.
CREATE TABLE {schema}.alarms (
    type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    every_s double precision,
    cron text COLLATE "C",
    zone text COLLATE "C",
    error text,
    failed_at timestamptz,
    PRIMARY KEY (type, id, name)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- serves: due_alarms, type_alarms
CREATE INDEX alarms_due ON {schema}.alarms (type, due_at) WHERE failed_at IS NULL;
-- serves: type_alarms
CREATE INDEX alarms_failed ON {schema}.alarms (type, due_at) WHERE failed_at IS NOT NULL;

-- Calls to objects of other nodes, and their answers. `number` is the order in which they were made. `expires_at` is when a
-- call may be forgotten: a while after it was answered, or after it must not be begun any more.
CREATE TABLE {schema}.calls (
    call uuid NOT NULL PRIMARY KEY,
    number bigserial NOT NULL,
    type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    handler text COLLATE "C" NOT NULL,
    args text NOT NULL,
    sender text COLLATE "C",
    key text COLLATE "C",
    chain text NOT NULL,
    keep_s double precision NOT NULL,
    made_at timestamptz NOT NULL,
    deadline_at timestamptz,
    answered_at timestamptz,
    expires_at timestamptz,
    result text,
    error text
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- serves: waiting_calls
CREATE INDEX calls_waiting ON {schema}.calls (type, number) WHERE answered_at IS NULL;
-- serves: lock_expired_objects, drop_expired_objects
CREATE INDEX calls_object ON {schema}.calls (type, id) WHERE answered_at IS NULL;
-- serves: post, find_keyed. One call has a key of an object.
CREATE UNIQUE INDEX calls_key ON {schema}.calls (type, id, key) WHERE key IS NOT NULL;
-- serves: prune_calls
CREATE INDEX calls_expired ON {schema}.calls (expires_at) WHERE expires_at IS NOT NULL;
