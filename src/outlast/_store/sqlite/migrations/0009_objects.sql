-- Objects: who owns them, their alarms, and the calls that travel to them.
--
-- An object is (type, id): two columns, never one text. `node` owns it, as long as that node has a row in `nodes`. `epoch`
-- counts changes of ownership: every write of an owner names node and epoch. `commits` counts writes, and `commit_epoch` is
-- the ownership whose write was the last, so that a repeated one can tell "mine, done" from "no longer mine". `born` is the
-- epoch in which it was made. One that was deleted is kept for a while without a state, so that both go on counting:
-- what was written to the old one neither is taken for a loss nor changes a new one.
CREATE TABLE {schema}_objects (
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT,
    node TEXT,
    epoch INTEGER NOT NULL,
    born INTEGER NOT NULL,
    commits INTEGER NOT NULL DEFAULT 0,
    commit_epoch INTEGER NOT NULL DEFAULT 0,
    expires_s REAL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    expires_us INTEGER,
    PRIMARY KEY (type, id),
    CHECK (state IS NOT NULL OR node IS NULL)
) STRICT;

-- serves: release_all
CREATE INDEX {schema}_objects_node ON {schema}_objects (node) WHERE node IS NOT NULL;
-- serves: find_expired_objects
CREATE INDEX {schema}_objects_expired ON {schema}_objects (expires_us) WHERE expires_us IS NOT NULL;

-- Alarms, by object and name. One that was set again has another `revision`. `failed_us` is when the last attempt failed
-- for good: it stays, for people to see, and is not due.
CREATE TABLE {schema}_alarms (
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    due_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    every_s REAL,
    cron TEXT,
    zone TEXT,
    error TEXT,
    failed_us INTEGER,
    PRIMARY KEY (type, id, name)
) STRICT, WITHOUT ROWID;

-- serves: due_alarms, next_alarm, type_alarms
CREATE INDEX {schema}_alarms_due ON {schema}_alarms (type, due_us) WHERE failed_us IS NULL;
-- serves: type_alarms
CREATE INDEX {schema}_alarms_failed ON {schema}_alarms (type, due_us) WHERE failed_us IS NOT NULL;

-- Calls to objects of other nodes, and their answers. `number` is the order in which they were made. `expires_us` is when a
-- call may be forgotten: a while after it was answered, or after it must not be begun any more.
CREATE TABLE {schema}_calls (
    number INTEGER NOT NULL PRIMARY KEY,
    call TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    handler TEXT NOT NULL,
    args TEXT NOT NULL,
    sender TEXT,
    key TEXT,
    chain TEXT NOT NULL,
    keep_s REAL NOT NULL,
    made_us INTEGER NOT NULL,
    deadline_us INTEGER,
    answered_us INTEGER,
    expires_us INTEGER,
    result TEXT,
    error TEXT
) STRICT;

-- serves: waiting_calls
CREATE INDEX {schema}_calls_waiting ON {schema}_calls (type, number) WHERE answered_us IS NULL;
-- serves: find_expired_objects
CREATE INDEX {schema}_calls_object ON {schema}_calls (type, id) WHERE answered_us IS NULL;
-- serves: post, posted. One call has a key of an object.
CREATE UNIQUE INDEX {schema}_calls_key ON {schema}_calls (type, id, key) WHERE key IS NOT NULL;
-- serves: prune_calls
CREATE INDEX {schema}_calls_expired ON {schema}_calls (expires_us) WHERE expires_us IS NOT NULL;
