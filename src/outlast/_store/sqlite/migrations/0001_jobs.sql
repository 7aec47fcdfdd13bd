-- The tables of Outlast on SQLite. Times are whole microseconds since 1970, always given by the caller.
--
-- `instances` holds one row per durable program run. `epoch` counts claims: every write of a claim names the epoch it
-- was given, so that a replaced worker changes nothing. `commit_epoch` is the claim whose outcome was written last, so
-- that a repeated commit can tell "mine, done" from "no longer mine". `commits` counts outcomes written.
CREATE TABLE {schema}_instances (
    id TEXT NOT NULL PRIMARY KEY,
    program TEXT NOT NULL,
    version INTEGER NOT NULL,
    step TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('scheduled', 'ready', 'blocked', 'running', 'waiting', 'done', 'failed',
        'cancelled', 'compensated', 'compensation_failed', 'quarantined')),
    epoch INTEGER NOT NULL DEFAULT 0,
    commit_epoch INTEGER NOT NULL DEFAULT 0,
    commits INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    node TEXT,
    created_us INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    claimed_us INTEGER,
    deadline_us INTEGER,
    finished_us INTEGER,
    expires_us INTEGER,
    timeout_s REAL,
    correlation_key TEXT,
    correlation_scope TEXT,
    progress REAL,
    progress_note TEXT,
    state TEXT NOT NULL,
    result TEXT,
    error TEXT,
    CHECK ((status = 'running') = (node IS NOT NULL)),
    CHECK ((finished_us IS NOT NULL)
        = (status IN ('done', 'failed', 'cancelled', 'compensated', 'compensation_failed')))
) STRICT;

-- serves: probe_ready, take, queue_ready, ready_programs
CREATE INDEX {schema}_instances_ready ON {schema}_instances (queue, priority, due_us, id) WHERE status = 'ready';
-- serves: find_due, next_due, queue_scheduled, standing
CREATE INDEX {schema}_instances_due ON {schema}_instances (due_us) WHERE status = 'scheduled';
-- serves: find_lost, owned, nodes, queue_running, standing
CREATE INDEX {schema}_instances_running ON {schema}_instances (node) WHERE status = 'running';
-- serves: find_expired
CREATE INDEX {schema}_instances_expired ON {schema}_instances (expires_us) WHERE expires_us IS NOT NULL;
-- serves: standing
CREATE INDEX {schema}_instances_quarantined ON {schema}_instances (queue) WHERE status = 'quarantined';
-- serves: add, holders, find_by_key. At most one instance holds a key.
CREATE UNIQUE INDEX {schema}_instances_key ON {schema}_instances (correlation_key)
    WHERE correlation_key IS NOT NULL AND instr(correlation_scope, ',' || status || ',') > 0;
-- serves: find_last_by_key
CREATE INDEX {schema}_instances_key_all ON {schema}_instances (correlation_key, id) WHERE correlation_key IS NOT NULL;

-- A process that may hold instances. `beat` changes with every renewal.
CREATE TABLE {schema}_nodes (
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    beat INTEGER NOT NULL DEFAULT 0,
    lease_s REAL NOT NULL,
    started_us INTEGER NOT NULL,
    renewed_us INTEGER NOT NULL
) STRICT;

-- Queues that somebody has paused. A queue needs no row to exist.
CREATE TABLE {schema}_queues (
    name TEXT NOT NULL PRIMARY KEY,
    paused_us INTEGER NOT NULL
) STRICT;
