-- What functions did: one row per function and minute (step 60) or hour (step 3600) in which something happened; at is the
-- epoch second it begins with. An hour is complete when the row without account and name says so.
CREATE TABLE activity (
    account TEXT NOT NULL,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    throttles INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, step, name, at)
) WITHOUT ROWID;

CREATE INDEX activity_by_time ON activity (step, at, account, name, calls, errors, throttles);
