-- What steps have said while they ran: a row for each line.
--
-- `number` is the order: the claim's epoch times a thousand million, and the count of lines within that claim. So a line
-- that is written twice is the same row, and processes need not agree on anything. A gap is a line that was dropped.
-- `level` is that of Python's logging. `fields` is JSON text.
CREATE TABLE {schema}_logs (
    instance TEXT NOT NULL,
    number INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    level INTEGER NOT NULL,
    message TEXT NOT NULL,
    source TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    fields TEXT,
    PRIMARY KEY (instance, number)
) STRICT, WITHOUT ROWID;
