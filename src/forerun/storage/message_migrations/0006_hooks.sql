-- Webhooks; their secrets are sealed. The id is in the URL and known to who sends.

CREATE TABLE hooks (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    config BLOB NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- What was delivered to a hook, as a hash, for as long as it could be replayed.
CREATE TABLE hook_deliveries (
    hook TEXT NOT NULL,
    delivery BLOB NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (hook, delivery)
) WITHOUT ROWID;

CREATE INDEX hook_deliveries_by_end ON hook_deliveries (until);
