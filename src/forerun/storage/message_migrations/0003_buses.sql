-- Event buses, their rules, and the targets of rules. The bus "default" of an account has a row only when something is kept of it.

CREATE TABLE event_buses (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- `schedule` is empty for rules without one; `due` is when the next firing is to happen, NULL for none; `last` is the time of
-- the last firing and `last_at` when it happened. `revision` goes up with every change, and an id is never used again.
CREATE TABLE event_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    bus TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    schedule TEXT NOT NULL,
    due REAL,
    last REAL,
    last_at REAL,
    config BLOB NOT NULL,
    UNIQUE (account, bus, name)
);

CREATE TABLE event_targets (
    rule INTEGER NOT NULL REFERENCES event_rules (id),
    id TEXT NOT NULL,
    arn TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (rule, id)
) WITHOUT ROWID;

CREATE INDEX event_targets_by_arn ON event_targets (arn);
