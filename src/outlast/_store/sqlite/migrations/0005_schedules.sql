-- Schedules: what is started again and again, and how far each has come.
--
-- Ticks up to `decided_us` have their runs, or never will; the runs of a tick are inserted in the transaction that moves
-- it. `revision` changes with every write: whoever has planned from an older row writes nothing. `next_us` is the first
-- tick that is not decided. `runs` is a JSON array of the ids of runs that have not been seen ended, `queued` one of ticks
-- (microseconds) that wait until those have. `disabled_us` is when failures switched it off.
CREATE TABLE {schema}_schedules (
    name TEXT NOT NULL PRIMARY KEY,
    program TEXT NOT NULL,
    version INTEGER NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    timeout_s REAL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    dst TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    window_s REAL NOT NULL,
    overlap TEXT NOT NULL,
    queued_max INTEGER NOT NULL,
    jitter_s REAL NOT NULL,
    grace_s REAL NOT NULL,
    enabled INTEGER NOT NULL,
    decided_us INTEGER NOT NULL,
    next_us INTEGER,
    runs TEXT NOT NULL,
    queued TEXT NOT NULL,
    last_run_us INTEGER,
    last_instance TEXT,
    consecutive_failures INTEGER NOT NULL,
    last_error TEXT,
    last_error_us INTEGER,
    disabled_us INTEGER,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- serves: glance, due_schedules
CREATE INDEX {schema}_schedules_next ON {schema}_schedules (next_us) WHERE enabled <> 0 AND next_us IS NOT NULL;
-- serves: glance, due_schedules
CREATE INDEX {schema}_schedules_runs ON {schema}_schedules (name) WHERE runs <> '[]';
