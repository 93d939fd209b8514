-- Accounts, their access keys, and their users, roles and managed policies.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL
);

-- user_name '' is the account's root.
CREATE TABLE access_keys (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts,
    user_name TEXT NOT NULL,
    secret_sealed BLOB NOT NULL,
    active INTEGER NOT NULL,
    created DOUBLE PRECISION NOT NULL
);

-- kind: role, user or policy.
CREATE TABLE iam_entities (
    account TEXT NOT NULL REFERENCES accounts,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, kind, name)
);

-- Counts every change of the tables above, so that each process can notice what others did.
CREATE TABLE identity_changes (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
);

INSERT INTO identity_changes (id, number) VALUES (1, 0);
