-- Spans that came together, one row for each time; the id grows with the time of arrival. Times are microseconds since the
-- epoch, durations microseconds; function, started, duration, status and root are those of the first span.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    trace_id BLOB NOT NULL,
    account TEXT NOT NULL,
    function TEXT NOT NULL,
    started INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    status INTEGER NOT NULL,
    root INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE INDEX segments_by_trace ON segments (trace_id, account);
CREATE INDEX segments_by_start ON segments (account, started, id, status, duration);
CREATE INDEX segments_by_function ON segments (account, function, started, id, status, duration);
