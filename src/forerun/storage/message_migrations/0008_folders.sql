-- Watched directories, and what was told of their files.

CREATE TABLE folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    config BLOB NOT NULL,
    mount TEXT,
    UNIQUE (account, name)
);

-- `path` is that below the directory, in the bytes of the file system. No foreign key: the files of a folder that is gone are
-- removed a few at a time.
CREATE TABLE folder_files (
    folder INTEGER NOT NULL,
    path BLOB NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
