-- Topics and who is subscribed to them.

CREATE TABLE topics (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- One for each endpoint; the topic's account may be another than the subscriber's, who owns it. Those that wait to be
-- confirmed expire.
CREATE TABLE subscriptions (
    account TEXT NOT NULL,
    topic TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    protocol TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    config BLOB NOT NULL,
    expires REAL,
    PRIMARY KEY (account, topic, id),
    FOREIGN KEY (account, topic) REFERENCES topics (account, name) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE UNIQUE INDEX subscriptions_by_endpoint ON subscriptions (account, topic, protocol, endpoint);
CREATE INDEX subscriptions_by_owner ON subscriptions (owner, account, topic, id);
CREATE INDEX subscriptions_by_end ON subscriptions (expires) WHERE expires IS NOT NULL;

-- What FIFO topics have taken within the last five minutes.
CREATE TABLE topic_deduplications (
    account TEXT NOT NULL,
    topic TEXT NOT NULL,
    deduplication TEXT NOT NULL,
    message TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    until REAL NOT NULL,
    PRIMARY KEY (account, topic, deduplication),
    FOREIGN KEY (account, topic) REFERENCES topics (account, name) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX topic_deduplications_by_end ON topic_deduplications (until);

-- The pair that notifications are signed with; the key is sealed.
CREATE TABLE signing_pairs (
    purpose TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    certificate BLOB NOT NULL
) WITHOUT ROWID;
