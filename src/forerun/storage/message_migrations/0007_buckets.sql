-- Buckets and the objects in them. An object's content is files named by their hash; a row of object_pieces refers to each, and
-- loose_blobs holds those that lost a reference, to be looked at. Keys are UTF-8, compared byte by byte.

CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    created REAL NOT NULL,
    -- JSON: policy, tags, notifications.
    config BLOB NOT NULL,
    -- Of all objects, and of parts that are not yet one.
    bytes INTEGER NOT NULL DEFAULT 0,
    -- Counts what happens to its objects.
    events INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX buckets_by_account ON buckets (account, name);

CREATE TABLE objects (
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    -- Of this content, new with each one.
    id TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified REAL NOT NULL,
    -- JSON: headers, metadata, tags, checksums.
    about BLOB NOT NULL,
    PRIMARY KEY (bucket, key)
);

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    started REAL NOT NULL,
    about BLOB NOT NULL,
    -- Counts its parts as they come, so that what was read of them can be relied on.
    changes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX uploads_by_key ON uploads (bucket, key, id);

CREATE TABLE upload_parts (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified REAL NOT NULL,
    -- JSON: checksums by algorithm.
    checksums BLOB NOT NULL,
    PRIMARY KEY (upload, number)
);

-- What an object or a part (the holder) consists of, in order.
CREATE TABLE object_pieces (
    holder TEXT NOT NULL,
    n INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (holder, n)
);
CREATE INDEX object_pieces_by_blob ON object_pieces (blob);

CREATE TABLE loose_blobs (
    blob TEXT PRIMARY KEY,
    since REAL NOT NULL
);

-- What happened and has not been handed over to those who are to be told.
CREATE TABLE bucket_notices (
    id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    body BLOB NOT NULL
);
