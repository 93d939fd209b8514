-- Who sent an event that nobody invoked directly (an ARN), and what is other than the function says for this run; 0 for nothing.
ALTER TABLE event_queue ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE event_queue ADD COLUMN memory_mb INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event_queue ADD COLUMN timeout_s INTEGER NOT NULL DEFAULT 0;
