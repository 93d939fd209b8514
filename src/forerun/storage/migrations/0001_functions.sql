-- What users own. Times are epoch seconds; BLOBs hold JSON unless they are called sealed.

CREATE TABLE functions (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    tags BLOB NOT NULL,
    reserved INTEGER,
    recursion TEXT NOT NULL,
    next_version INTEGER NOT NULL,
    published_description TEXT,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;
CREATE INDEX functions_reserved ON functions (account, reserved) WHERE reserved IS NOT NULL;

-- Number 0 is $LATEST.
CREATE TABLE function_versions (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    revision TEXT NOT NULL,
    config BLOB NOT NULL,
    sealed_environment BLOB NOT NULL,
    code_digest TEXT NOT NULL,
    layers_digest TEXT,
    code_size INTEGER NOT NULL,
    unpacked_size INTEGER NOT NULL,
    layers_unpacked_size INTEGER NOT NULL,
    runtime_policy BLOB,
    PRIMARY KEY (account, name, number),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX function_versions_latest ON function_versions (account, name) WHERE number = 0;
CREATE INDEX function_versions_code ON function_versions (code_digest);
CREATE INDEX function_versions_layers ON function_versions (layers_digest);

CREATE TABLE aliases (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    weights TEXT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (account, name, alias),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

-- Qualifier '' is the unqualified function.
CREATE TABLE function_policies (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    revision TEXT NOT NULL,
    statements BLOB NOT NULL,
    PRIMARY KEY (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE event_invoke_configs (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE function_urls (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    config BLOB NOT NULL,
    UNIQUE (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE layers (
    account TEXT NOT NULL,
    layer TEXT NOT NULL,
    next_version INTEGER NOT NULL,
    PRIMARY KEY (account, layer)
) WITHOUT ROWID;

CREATE TABLE layer_versions (
    account TEXT NOT NULL,
    layer TEXT NOT NULL,
    version INTEGER NOT NULL,
    config BLOB NOT NULL,
    code_digest TEXT NOT NULL,
    code_size INTEGER NOT NULL,
    policy_revision TEXT NOT NULL,
    policy BLOB NOT NULL,
    PRIMARY KEY (account, layer, version),
    FOREIGN KEY (account, layer) REFERENCES layers ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX layer_versions_code ON layer_versions (code_digest);

CREATE TABLE event_source_mappings (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    source TEXT NOT NULL,
    config BLOB NOT NULL,
    tags BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_source_mappings_account ON event_source_mappings (account, id);
CREATE INDEX event_source_mappings_function ON event_source_mappings (account, name, id);
CREATE INDEX event_source_mappings_source ON event_source_mappings (account, source, id);

-- What an account's packages take, kept by the database itself, so that no request has to add it up.
CREATE TABLE account_usage (
    account TEXT NOT NULL PRIMARY KEY,
    code_bytes INTEGER NOT NULL,
    functions INTEGER NOT NULL
) WITHOUT ROWID;

-- Packages and trees that lost a reference, until a sweep has looked whether it was the last one.
CREATE TABLE code_released (
    digest TEXT NOT NULL PRIMARY KEY,
    released REAL
) WITHOUT ROWID;
CREATE INDEX code_released_due ON code_released (released);

CREATE TRIGGER function_version_added AFTER INSERT ON function_versions BEGIN
    INSERT INTO account_usage VALUES (new.account, new.code_size, new.number = 0)
    ON CONFLICT (account) DO UPDATE SET
        code_bytes = code_bytes + excluded.code_bytes, functions = functions + excluded.functions;
END;
CREATE TRIGGER function_version_changed AFTER UPDATE OF code_size ON function_versions BEGIN
    UPDATE account_usage SET code_bytes = code_bytes + new.code_size - old.code_size
    WHERE account = new.account;
END;
CREATE TRIGGER function_version_removed AFTER DELETE ON function_versions BEGIN
    UPDATE account_usage SET code_bytes = code_bytes - old.code_size, functions = functions - (old.number = 0)
    WHERE account = old.account;
    INSERT INTO code_released (digest) VALUES (old.code_digest)
    ON CONFLICT (digest) DO UPDATE SET released = NULL;
    INSERT INTO code_released (digest) SELECT old.layers_digest WHERE old.layers_digest IS NOT NULL
    ON CONFLICT (digest) DO UPDATE SET released = NULL;
END;
CREATE TRIGGER function_code_changed AFTER UPDATE OF code_digest ON function_versions
WHEN old.code_digest <> new.code_digest BEGIN
    INSERT INTO code_released (digest) VALUES (old.code_digest)
    ON CONFLICT (digest) DO UPDATE SET released = NULL;
END;
CREATE TRIGGER function_layers_changed AFTER UPDATE OF layers_digest ON function_versions
WHEN old.layers_digest IS NOT NULL AND old.layers_digest IS NOT new.layers_digest BEGIN
    INSERT INTO code_released (digest) VALUES (old.layers_digest)
    ON CONFLICT (digest) DO UPDATE SET released = NULL;
END;
CREATE TRIGGER layer_version_added AFTER INSERT ON layer_versions BEGIN
    INSERT INTO account_usage VALUES (new.account, new.code_size, 0)
    ON CONFLICT (account) DO UPDATE SET code_bytes = code_bytes + excluded.code_bytes;
END;
CREATE TRIGGER layer_version_removed AFTER DELETE ON layer_versions BEGIN
    UPDATE account_usage SET code_bytes = code_bytes - old.code_size WHERE account = old.account;
    INSERT INTO code_released (digest) VALUES (old.code_digest)
    ON CONFLICT (digest) DO UPDATE SET released = NULL;
END;
