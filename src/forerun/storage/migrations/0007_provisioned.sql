-- Provisioned concurrency by qualifier (a version or an alias), and what scales it.

CREATE TABLE provisioned_concurrency (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    requested INTEGER NOT NULL,
    modified REAL NOT NULL,
    PRIMARY KEY (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

-- A resource is function:NAME:QUALIFIER, which need not exist.
CREATE TABLE scalable_targets (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    config BLOB NOT NULL,
    PRIMARY KEY (account, resource)
) WITHOUT ROWID;

CREATE TABLE scaling_policies (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    policy TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (account, resource, policy),
    FOREIGN KEY (account, resource) REFERENCES scalable_targets ON DELETE CASCADE
) WITHOUT ROWID;

-- Up to which moment a schedule's times were looked at is in "seen", in epoch seconds.
CREATE TABLE scheduled_actions (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    action TEXT NOT NULL,
    config BLOB NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (account, resource, action),
    FOREIGN KEY (account, resource) REFERENCES scalable_targets ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE scaling_activities (
    account TEXT NOT NULL,
    begun REAL NOT NULL,
    id TEXT NOT NULL,
    resource TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (account, begun, id)
) WITHOUT ROWID;
CREATE INDEX scaling_activities_resource ON scaling_activities (account, resource, begun, id);
