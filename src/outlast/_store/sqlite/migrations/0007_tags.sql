-- What instances are found by: names and values that whoever starts them gives.
--
-- An instance has its own tags in its row, as a JSON object; `tags` holds each of them once more, in the order in which
-- they are searched. A schedule keeps those that its runs get.
ALTER TABLE {schema}_instances ADD COLUMN tags TEXT;
ALTER TABLE {schema}_schedules ADD COLUMN tags TEXT;

CREATE TABLE {schema}_tags (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    instance TEXT NOT NULL,
    PRIMARY KEY (name, value, instance)
) STRICT, WITHOUT ROWID;
