-- What packages hold of distributions, who uses them, and in which form they are kept. Sizes in bytes unpacked.

-- split: when it was made a collection, until its single file is gone (epoch seconds); looked: when it was last planned.
CREATE TABLE code_packages (
    digest TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    files INTEGER NOT NULL,
    size INTEGER NOT NULL,
    form TEXT NOT NULL,
    split REAL,
    looked REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX code_packages_looked ON code_packages (looked);
CREATE INDEX code_packages_split ON code_packages (split) WHERE split IS NOT NULL;

-- apart: the package may be read with the help of this object, which must not go. A package may have one at several places.
CREATE TABLE code_parts (
    digest TEXT NOT NULL,
    object TEXT NOT NULL,
    root TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    files INTEGER NOT NULL,
    size INTEGER NOT NULL,
    apart INTEGER NOT NULL,
    PRIMARY KEY (digest, object, root),
    FOREIGN KEY (digest) REFERENCES code_packages ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX code_parts_object ON code_parts (object);

CREATE TABLE code_uses (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (account, name, digest),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX code_uses_digest ON code_uses (digest);
