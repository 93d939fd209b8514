-- Log groups, streams, and events: one row of log_batches holds events of a stream that were written together.
CREATE TABLE log_groups (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    retention_days INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '{}',
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name)
);

CREATE TABLE log_streams (
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    first_ms INTEGER,
    last_ms INTEGER,
    ingested_ms INTEGER,
    PRIMARY KEY (group_id, name)
);

CREATE TABLE log_batches (
    id INTEGER PRIMARY KEY,
    group_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    ingested_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    lines BLOB NOT NULL
);

CREATE INDEX log_batches_by_time ON log_batches (group_id, first_ms, id);
CREATE INDEX log_batches_by_stream ON log_batches (group_id, stream, first_ms, id);

-- Groups that were deleted and whose events are still to be removed.
CREATE TABLE log_garbage (group_id INTEGER PRIMARY KEY);
