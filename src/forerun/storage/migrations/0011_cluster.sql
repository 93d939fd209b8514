-- What several control planes share besides what users own. Moments are the database's own, in epoch seconds.

-- The right to do what only one may do: until when, and the fence, which goes up with each holder. Owner '': given back.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expires DOUBLE PRECISION NOT NULL
);

-- The one row counts the changes of configuration; whoever makes one holds it until it is committed, so that numbers become
-- visible in their order.
CREATE TABLE feed (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
);
INSERT INTO feed (id, number) VALUES (1, 0);

-- The latest changes: what is missing between two of them is not kept any more.
CREATE TABLE changes (
    number INTEGER NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
CREATE INDEX changes_by_age ON changes (at);

-- Who relies on hearing of changes, up to which one each has acted, and when it said so last.
CREATE TABLE feed_readers (
    name TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    seen DOUBLE PRECISION NOT NULL
);

-- Control planes: where other processes of the cluster reach them, and where clients do.
CREATE TABLE control_planes (
    name TEXT NOT NULL PRIMARY KEY,
    incarnation TEXT NOT NULL,
    door TEXT NOT NULL,
    api TEXT NOT NULL,
    version TEXT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    seen DOUBLE PRECISION NOT NULL
);

-- Hosts: `info` is JSON, as the host announced itself; `phase` is what is wished of it; `node` is the engine's own name of its
-- machine.
CREATE TABLE hosts (
    name TEXT NOT NULL PRIMARY KEY,
    incarnation TEXT NOT NULL,
    address TEXT NOT NULL,
    phase TEXT NOT NULL,
    node TEXT NOT NULL,
    info BLOB NOT NULL,
    joined DOUBLE PRECISION NOT NULL,
    seen DOUBLE PRECISION NOT NULL
);
