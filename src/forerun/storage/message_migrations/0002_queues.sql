-- Queues, and the messages that wait in them.

CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at REAL NOT NULL,
    modified_at REAL NOT NULL,
    purged_at REAL NOT NULL DEFAULT 0,
    attributes TEXT NOT NULL,
    tags TEXT NOT NULL
);
CREATE UNIQUE INDEX queues_named ON queues (account, name);

-- What was in queues that were deleted or purged, by the id they had; removed behind.
CREATE TABLE queue_trash (
    queue INTEGER PRIMARY KEY
);

-- `seq` grows with time. A message is hidden while `visible_at` is in the future: with `received` = 0 it is delayed, else it
-- is in flight. `grp` is '' in queues without order. `source` is the queue that gave it up after `tries`. A large body lies in `queue_bodies`, so that hiding a message does
-- not write it again.
CREATE TABLE queue_messages (
    seq INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    visible_at REAL NOT NULL,
    received INTEGER NOT NULL DEFAULT 0,
    sent_at REAL NOT NULL,
    first_at REAL NOT NULL DEFAULT 0,
    taken_at REAL NOT NULL DEFAULT 0,
    grp TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    moved_at REAL NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL,
    body TEXT,
    envelope TEXT NOT NULL
);
CREATE INDEX queue_messages_due ON queue_messages (queue, visible_at, received);
CREATE INDEX queue_messages_grouped ON queue_messages (queue, grp, seq) WHERE grp <> '';
CREATE INDEX queue_messages_taken ON queue_messages (queue, grp, visible_at) WHERE grp <> '' AND received > 0;
CREATE INDEX queue_messages_dead ON queue_messages (queue, seq) WHERE source <> '';

CREATE TABLE queue_bodies (
    seq INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
CREATE TRIGGER queue_message_removed AFTER DELETE ON queue_messages WHEN old.body IS NULL BEGIN
    DELETE FROM queue_bodies WHERE seq = old.seq;
END;

-- Groups that have messages, and since or from when one of each may be taken.
CREATE TABLE queue_groups (
    queue INTEGER NOT NULL,
    grp TEXT NOT NULL,
    ready_at REAL NOT NULL,
    PRIMARY KEY (queue, grp)
) WITHOUT ROWID;
CREATE INDEX queue_groups_ready ON queue_groups (queue, ready_at);

-- What was sent of late by the name it must not be sent again under until it expires.
CREATE TABLE queue_sent (
    queue INTEGER NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    sent_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (queue, scope, name)
) WITHOUT ROWID;
CREATE INDEX queue_sent_expires ON queue_sent (expires_at);

-- What is to be known of a group follows its messages: it is ready when its first one is due and none is in flight.
CREATE TRIGGER queue_group_sent AFTER INSERT ON queue_messages WHEN new.grp <> '' BEGIN
    INSERT OR IGNORE INTO queue_groups VALUES (new.queue, new.grp, new.visible_at);
END;
CREATE TRIGGER queue_group_hidden AFTER UPDATE OF visible_at ON queue_messages
WHEN new.grp <> '' AND new.queue = old.queue BEGIN
    UPDATE queue_groups SET ready_at = max(
        coalesce((SELECT max(visible_at) FROM queue_messages
            WHERE queue = new.queue AND grp = new.grp AND grp <> '' AND received > 0), 0),
        coalesce((SELECT visible_at FROM queue_messages
            WHERE queue = new.queue AND grp = new.grp AND grp <> '' ORDER BY seq LIMIT 1), 0))
    WHERE queue = new.queue AND grp = new.grp;
END;
CREATE TRIGGER queue_group_finished AFTER DELETE ON queue_messages WHEN old.grp <> '' BEGIN
    DELETE FROM queue_groups WHERE queue = old.queue AND grp = old.grp AND NOT EXISTS (
        SELECT 1 FROM queue_messages WHERE queue = old.queue AND grp = old.grp AND grp <> '');
    UPDATE queue_groups SET ready_at = max(
        coalesce((SELECT max(visible_at) FROM queue_messages
            WHERE queue = old.queue AND grp = old.grp AND grp <> '' AND received > 0), 0),
        coalesce((SELECT visible_at FROM queue_messages
            WHERE queue = old.queue AND grp = old.grp AND grp <> '' ORDER BY seq LIMIT 1), 0))
    WHERE queue = old.queue AND grp = old.grp;
END;
CREATE TRIGGER queue_group_moved AFTER UPDATE OF queue ON queue_messages
WHEN new.grp <> '' AND new.queue <> old.queue BEGIN
    INSERT OR IGNORE INTO queue_groups VALUES (new.queue, new.grp, new.visible_at);
    UPDATE queue_groups SET ready_at = max(
        coalesce((SELECT max(visible_at) FROM queue_messages
            WHERE queue = new.queue AND grp = new.grp AND grp <> '' AND received > 0), 0),
        coalesce((SELECT visible_at FROM queue_messages
            WHERE queue = new.queue AND grp = new.grp AND grp <> '' ORDER BY seq LIMIT 1), 0))
    WHERE queue = new.queue AND grp = new.grp;
    DELETE FROM queue_groups WHERE queue = old.queue AND grp = old.grp AND NOT EXISTS (
        SELECT 1 FROM queue_messages WHERE queue = old.queue AND grp = old.grp AND grp <> '');
    UPDATE queue_groups SET ready_at = max(
        coalesce((SELECT max(visible_at) FROM queue_messages
            WHERE queue = old.queue AND grp = old.grp AND grp <> '' AND received > 0), 0),
        coalesce((SELECT visible_at FROM queue_messages
            WHERE queue = old.queue AND grp = old.grp AND grp <> '' ORDER BY seq LIMIT 1), 0))
    WHERE queue = old.queue AND grp = old.grp;
END;
