-- Schedules: what is started again and again, and how far each has come.
--
-- Ticks up to `decided_at` have their runs, or never will; the runs of a tick are inserted in the transaction that moves
-- it. `revision` changes with every write: whoever has planned from an older row writes nothing. `next_at` is the first
-- tick that is not decided. `runs` is a JSON array of the ids of runs that have not been seen ended, `queued` one of ticks
-- (microseconds since 1970) that wait until those have. `disabled_at` is when failures switched it off.
CREATE TABLE {schema}.schedules (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    program text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    step text COLLATE "C" NOT NULL,
    state text NOT NULL,
    timeout_s double precision,
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    cron text COLLATE "C" NOT NULL,
    zone text COLLATE "C" NOT NULL,
    dst text COLLATE "C" NOT NULL,
    catch_up text COLLATE "C" NOT NULL,
    window_s double precision NOT NULL,
    overlap text COLLATE "C" NOT NULL,
    queued_max integer NOT NULL,
    jitter_s double precision NOT NULL,
    grace_s double precision NOT NULL,
    enabled boolean NOT NULL,
    decided_at timestamptz NOT NULL,
    next_at timestamptz,
    runs text NOT NULL,
    queued text NOT NULL,
    last_run_at timestamptz,
    last_instance text,
    consecutive_failures integer NOT NULL,
    last_error text,
    last_error_at timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
) WITH (fillfactor = 70);

-- serves: glance, due_schedules
CREATE INDEX schedules_next ON {schema}.schedules (next_at) WHERE enabled AND next_at IS NOT NULL;
-- serves: glance, due_schedules
CREATE INDEX schedules_runs ON {schema}.schedules (name) WHERE runs <> '[]';
