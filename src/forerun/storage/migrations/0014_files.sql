-- Files that several control planes have in common, and which key they seal with.

-- Named as below the data directory. `id` is of this content, new with each; `touched`: when somebody said last that it is needed.
CREATE TABLE files (
    name TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    touched DOUBLE PRECISION NOT NULL
);

CREATE TABLE file_chunks (
    id TEXT NOT NULL,
    n INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (id, n)
);

-- Contents that have no name: not yet, or (garbage = 1) never any more; their chunks are removed in batches.
CREATE TABLE file_loose (
    id TEXT NOT NULL PRIMARY KEY,
    since DOUBLE PRECISION NOT NULL,
    garbage INTEGER NOT NULL
);
CREATE INDEX file_loose_by_age ON file_loose (since);

-- A hash from which the key cannot be found.
CREATE TABLE sealing_key (
    id INTEGER NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL
);
