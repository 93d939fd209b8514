-- Schedules, their groups, and the requests about them that may be repeated.

CREATE TABLE schedule_groups (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    deleting INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- `due` is when the next firing is to happen, NULL for never again. The id is never used a second time; `revision` goes up
-- with every change.
CREATE TABLE schedules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    grp TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL,
    due REAL,
    config BLOB NOT NULL,
    firing BLOB NOT NULL,
    UNIQUE (account, grp, name)
);

CREATE TABLE schedule_tokens (
    account TEXT NOT NULL,
    token TEXT NOT NULL,
    digest TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account, token)
) WITHOUT ROWID;

CREATE INDEX schedule_tokens_by_age ON schedule_tokens (at);
