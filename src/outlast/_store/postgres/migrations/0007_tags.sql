-- What instances are found by: names and values that whoever starts them gives.
--
-- An instance has its own tags in its row, as a JSON object; `tags` holds each of them once more, in the order in which
-- they are searched. A schedule keeps those that its runs get.
ALTER TABLE {schema}.instances ADD COLUMN tags text;
ALTER TABLE {schema}.schedules ADD COLUMN tags text;

CREATE TABLE {schema}.tags (
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    instance uuid NOT NULL,
    PRIMARY KEY (name, value, instance)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.1
);
