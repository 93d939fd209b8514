-- One row per attempt of an invocation; the id grows with time.
CREATE TABLE invocations (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    start_type TEXT NOT NULL,
    invocation_type TEXT NOT NULL,
    record BLOB NOT NULL
);

CREATE INDEX invocations_by_function ON invocations (account, name, id);
CREATE INDEX invocations_by_request ON invocations (request_id);
