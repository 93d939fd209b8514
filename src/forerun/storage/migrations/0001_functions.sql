-- What users own. Times are epoch seconds; *_json columns hold JSON; sealed columns hold ciphertext.

CREATE TABLE functions (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    tags_json TEXT NOT NULL,
    egress TEXT,
    next_version INTEGER NOT NULL,
    reserved INTEGER,
    recursion TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;
CREATE INDEX functions_reserved ON functions (account, reserved) WHERE reserved IS NOT NULL;

-- number 0 is $LATEST; the rows of a published version change in nothing but its state and runtime policy.
CREATE TABLE function_versions (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    revision TEXT NOT NULL,
    config_json TEXT NOT NULL,
    environment_sealed BLOB NOT NULL,
    code_sha256 TEXT NOT NULL,
    code_digest TEXT NOT NULL,
    code_size INTEGER NOT NULL,
    layers_digest TEXT,
    runtime_policy_json TEXT,
    PRIMARY KEY (account, name, number),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX function_versions_code ON function_versions (code_digest);
CREATE INDEX function_versions_layers ON function_versions (layers_digest);

CREATE TABLE aliases (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    description TEXT NOT NULL,
    weights_json TEXT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (account, name, alias),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

-- qualifier '' is the unqualified function.
CREATE TABLE function_policies (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    revision TEXT NOT NULL,
    statements_json TEXT NOT NULL,
    PRIMARY KEY (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE event_invoke_configs (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    config_json TEXT NOT NULL,
    PRIMARY KEY (account, name, qualifier),
    FOREIGN KEY (account, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE function_urls (
    url_id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    config_json TEXT NOT NULL,
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
    description TEXT NOT NULL,
    license TEXT NOT NULL,
    runtimes_json TEXT NOT NULL,
    architectures_json TEXT NOT NULL,
    code_sha256 TEXT NOT NULL,
    code_digest TEXT NOT NULL,
    code_size INTEGER NOT NULL,
    unpacked_size INTEGER NOT NULL,
    created REAL NOT NULL,
    policy_revision TEXT,
    policy_json TEXT,
    PRIMARY KEY (account, layer, version),
    FOREIGN KEY (account, layer) REFERENCES layers ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX layer_versions_code ON layer_versions (code_digest);

CREATE TABLE event_source_mappings (
    uuid TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    source_arn TEXT,
    config_json TEXT NOT NULL,
    tags_json TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_source_mappings_function ON event_source_mappings (account, name, uuid);

-- What an account's code takes, kept beside every insert and delete, so that no request has to add it up.
CREATE TABLE account_usage (
    account TEXT NOT NULL PRIMARY KEY,
    code_bytes INTEGER NOT NULL,
    functions INTEGER NOT NULL
) WITHOUT ROWID;
