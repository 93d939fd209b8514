-- Until when an event waits for the machine to have room: it is due then. 0 for those that wait for nothing.
ALTER TABLE event_queue ADD COLUMN latest_start DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE INDEX event_queue_deferred ON event_queue (latest_start) WHERE latest_start > 0 AND owner = '';
