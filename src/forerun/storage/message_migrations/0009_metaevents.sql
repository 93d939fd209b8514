-- Rules of metaevents: `definition` is JSON; a `revision` is that of the criteria, which what is remembered belongs to.
CREATE TABLE metaevents (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    since REAL NOT NULL,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    definition BLOB NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- What a rule remembers: windows, sequences, its last evaluations and jobs; written behind.
CREATE TABLE metaevent_memories (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    memory BLOB NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- When the event of an absence was seen last: written sooner than all else, since jobs are run by it.
CREATE TABLE metaevent_seen (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    part INTEGER NOT NULL,
    revision TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account, name, part)
) WITHOUT ROWID;
