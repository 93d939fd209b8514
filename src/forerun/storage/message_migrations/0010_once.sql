-- What runs once: which functions want it, which execution identifiers succeeded, and what an execution depended on.

CREATE TABLE once_configs (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- `payload` is NULL where the result is not kept.
CREATE TABLE once_ids (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    successes INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    request_id TEXT NOT NULL,
    version TEXT NOT NULL,
    at REAL NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB,
    PRIMARY KEY (account, name, id)
);
CREATE INDEX once_ids_expiry ON once_ids (expires_at);

-- The last success for an input, and the state of everything that it depended on before it ran.
CREATE TABLE once_records (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    input BLOB NOT NULL,
    state BLOB NOT NULL,
    request_id TEXT NOT NULL,
    at REAL NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB,
    PRIMARY KEY (account, name, version, input)
);
CREATE INDEX once_records_age ON once_records (account, at);
