-- Accepted asynchronous invocations. A claimed row has an owner, and due_at is when its lease ends.
CREATE TABLE event_queue (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT,
    payload BLOB NOT NULL,
    client_context TEXT,
    trace_id TEXT NOT NULL,
    headers TEXT NOT NULL,
    accepted_at DOUBLE PRECISION NOT NULL,
    attempt INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    owner TEXT NOT NULL,
    bytes INTEGER NOT NULL
);

CREATE INDEX event_queue_by_due ON event_queue (due_at);
