-- The tables of Outlast on Postgres. Times are the server's: no client's clock is ever compared with another's.
--
-- `instances` holds one row per durable program run. `epoch` counts claims: every write of a claim names the epoch it
-- was given, so that a replaced worker changes nothing. `commit_epoch` is the claim whose outcome was written last, so
-- that a repeated commit can tell "mine, done" from "no longer mine". `commits` counts outcomes written.
--
-- Payloads are text, not jsonb: what a user stored comes back as it went in, and a kilobyte costs a quarter less.
-- Names are compared byte by byte (COLLATE "C"): a new libc sorts words differently, and would break their indexes.
-- A row dies about three times on its way (taken, committed, pruned), so vacuum comes early, long before a fifth of
-- the table is dead. No fillfactor: every one of these updates changes an index, so none could stay in its page.
CREATE TABLE {schema}.instances (
    id uuid NOT NULL PRIMARY KEY,
    program text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    step text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'done',
        'failed', 'cancelled', 'compensated', 'compensation_failed', 'quarantined')),
    epoch bigint NOT NULL DEFAULT 0,
    commit_epoch bigint NOT NULL DEFAULT 0,
    commits bigint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    node text COLLATE "C",
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    claimed_at timestamptz,
    deadline_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    timeout_s double precision,
    correlation_key text COLLATE "C",
    correlation_scope text COLLATE "C",
    progress double precision,
    progress_note text,
    state text NOT NULL,
    result text,
    error text,
    CHECK ((status = 'running') = (node IS NOT NULL)),
    CHECK ((finished_at IS NOT NULL)
        = (status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')))
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_limit = 2000
);

-- serves: take, queue_ready, ready_programs
CREATE INDEX instances_ready ON {schema}.instances (queue, priority, due_at, id) WHERE status = 'ready';
-- serves: promote, queue_scheduled, standing
CREATE INDEX instances_due ON {schema}.instances (due_at) WHERE status = 'scheduled';
-- Only what runs has a node. Were this `WHERE status = 'running'`, then a commit that was planned while the table was
-- still small would walk this whole index.
-- serves: reclaim, owned, nodes, queue_running, standing
CREATE INDEX instances_running ON {schema}.instances (node) WHERE node IS NOT NULL;
-- serves: prune
CREATE INDEX instances_expired ON {schema}.instances (expires_at) WHERE expires_at IS NOT NULL;
-- serves: standing
CREATE INDEX instances_quarantined ON {schema}.instances (queue) WHERE status = 'quarantined';
-- serves: add, holders, find_by_key. At most one instance holds a key.
CREATE UNIQUE INDEX instances_key ON {schema}.instances (correlation_key)
    WHERE correlation_key IS NOT NULL AND strpos(correlation_scope, ',' || status || ',') > 0;
-- serves: find_last_by_key
CREATE INDEX instances_key_all ON {schema}.instances (correlation_key, id) WHERE correlation_key IS NOT NULL;

-- A process that may hold instances. `beat` changes with every renewal.
CREATE TABLE {schema}.nodes (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    beat bigint NOT NULL DEFAULT 0,
    lease_s double precision NOT NULL,
    started_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Queues that somebody has paused. A queue needs no row to exist.
CREATE TABLE {schema}.queues (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    paused_at timestamptz NOT NULL
);
