-- As SQLite's: the elements of a JSON array, as texts.
CREATE FUNCTION json_each(list text) RETURNS TABLE (value text) LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT json_array_elements_text(list::json) $$;

CREATE FUNCTION queue_message_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM queue_bodies WHERE seq = old.seq;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_message_removed AFTER DELETE ON queue_messages
FOR EACH ROW WHEN (old.body IS NULL) EXECUTE FUNCTION queue_message_removed();

-- A group is ready when its first message is due and none is in flight.
CREATE FUNCTION queue_group_follows(which bigint, named text) RETURNS void LANGUAGE sql AS $$
    UPDATE queue_groups SET ready_at = greatest(
        coalesce((SELECT max(visible_at) FROM queue_messages
            WHERE queue = which AND grp = named AND grp <> '' AND received > 0), 0),
        coalesce((SELECT visible_at FROM queue_messages
            WHERE queue = which AND grp = named AND grp <> '' ORDER BY seq LIMIT 1), 0))
    WHERE queue = which AND grp = named;
$$;
CREATE FUNCTION queue_group_ends(which bigint, named text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM queue_groups WHERE queue = which AND grp = named AND NOT EXISTS (
        SELECT 1 FROM queue_messages WHERE queue = which AND grp = named AND grp <> '');
$$;

CREATE FUNCTION queue_group_sent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO queue_groups VALUES (new.queue, new.grp, new.visible_at) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_group_sent AFTER INSERT ON queue_messages
FOR EACH ROW WHEN (new.grp <> '') EXECUTE FUNCTION queue_group_sent();

CREATE FUNCTION queue_group_hidden() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM queue_group_follows(new.queue, new.grp);
    RETURN NULL;
END $$;
CREATE TRIGGER queue_group_hidden AFTER UPDATE OF visible_at ON queue_messages
FOR EACH ROW WHEN (new.grp <> '' AND new.queue = old.queue) EXECUTE FUNCTION queue_group_hidden();

CREATE FUNCTION queue_group_finished() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM queue_group_ends(old.queue, old.grp);
    PERFORM queue_group_follows(old.queue, old.grp);
    RETURN NULL;
END $$;
CREATE TRIGGER queue_group_finished AFTER DELETE ON queue_messages
FOR EACH ROW WHEN (old.grp <> '') EXECUTE FUNCTION queue_group_finished();

CREATE FUNCTION queue_group_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO queue_groups VALUES (new.queue, new.grp, new.visible_at) ON CONFLICT DO NOTHING;
    PERFORM queue_group_follows(new.queue, new.grp);
    PERFORM queue_group_ends(old.queue, old.grp);
    PERFORM queue_group_follows(old.queue, old.grp);
    RETURN NULL;
END $$;
CREATE TRIGGER queue_group_moved AFTER UPDATE OF queue ON queue_messages
FOR EACH ROW WHEN (new.grp <> '' AND new.queue <> old.queue) EXECUTE FUNCTION queue_group_moved();
