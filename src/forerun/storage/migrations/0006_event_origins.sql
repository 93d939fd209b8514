-- What an event's request brought with it, as JSON. Events accepted before this begin a trace of their own.
ALTER TABLE event_queue RENAME COLUMN trace_id TO origin;

UPDATE event_queue SET origin = '{}';
