-- What steps have said while they ran: a row for each line.
--
-- `number` is the order: the claim's epoch times a thousand million, and the count of lines within that claim. So a line
-- that is written twice is the same row, and processes need not agree on anything. A gap is a line that was dropped.
-- `level` is that of Python's logging. `fields` is JSON text.
CREATE TABLE {schema}.logs (
    instance uuid NOT NULL,
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    level integer NOT NULL,
    message text NOT NULL,
    source text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    fields text,
    PRIMARY KEY (instance, number)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.1
);
