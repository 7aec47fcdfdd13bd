-- What a workflow has recorded: a row for each step, wait and child, by a key that its code gives it.
--
-- `number` is the order in which they were recorded first. `wake_us` is when a wait is over in any case, or when a failed
-- attempt is made again. `value` and `error` are JSON texts.
CREATE TABLE {schema}_journal (
    instance TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    value TEXT,
    error TEXT,
    duration_s REAL,
    wake_us INTEGER,
    recorded_us INTEGER NOT NULL,
    PRIMARY KEY (instance, key)
) STRICT, WITHOUT ROWID;

-- serves: pending
CREATE INDEX {schema}_journal_pending ON {schema}_journal (recorded_us, instance)
    WHERE kind = 'input' AND status = 'waiting';
