-- Whom the processes of a cluster believe. One row at most; keys and secrets are sealed. `engine` is HOST:PORT of the distributed
-- engine's head, empty while there is none.
CREATE TABLE cluster_trust (
    id INTEGER NOT NULL PRIMARY KEY,
    authority TEXT NOT NULL,
    key BLOB NOT NULL,
    engine_secret BLOB NOT NULL,
    engine TEXT NOT NULL,
    made DOUBLE PRECISION NOT NULL
);

-- Tokens that let a machine join: `hash` is SHA-256 of the secret, in hexadecimal, of which nothing else is kept.
CREATE TABLE join_tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    uses INTEGER NOT NULL,
    expires DOUBLE PRECISION NOT NULL,
    created DOUBLE PRECISION NOT NULL
);
CREATE UNIQUE INDEX join_tokens_id ON join_tokens (id);
