-- Tallies of profiles: since is the epoch second at which the stretch of time begins, 0 for all time.
CREATE TABLE profiles (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    since INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, name, version, since)
);
