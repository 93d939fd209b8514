-- Messages on their way to targets other than functions. A claimed row has an owner. Those of one target are a lane: they
-- are claimed in the order of due_at, and of number where that is equal.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    lane TEXT NOT NULL,
    message BLOB NOT NULL,
    accepted_at DOUBLE PRECISION NOT NULL,
    attempt INTEGER NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    owner TEXT NOT NULL,
    bytes INTEGER NOT NULL
);

CREATE INDEX outbox_by_lane ON outbox (lane, owner, due_at, number);

-- What nobody could process. "number" grows with time and is what pages go by.
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    letter BLOB NOT NULL,
    failed_at DOUBLE PRECISION NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (account, id)
);

CREATE INDEX dead_letters_by_account ON dead_letters (account, number);
