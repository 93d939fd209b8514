-- What foresight has learned of functions, by the name they are called by: at is the epoch second of the last call. The row
-- with neither account nor name is of all functions together.
CREATE TABLE foresight (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    at INTEGER NOT NULL,
    state BLOB NOT NULL,
    score BLOB NOT NULL,
    PRIMARY KEY (account, name, qualifier)
) WITHOUT ROWID;

CREATE INDEX foresight_by_time ON foresight (at);
CREATE INDEX foresight_by_account ON foresight (account, at);
