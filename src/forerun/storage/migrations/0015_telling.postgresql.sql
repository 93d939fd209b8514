-- works with 13
-- Whoever changes what is remembered of a function, who may do what, or which hosts there are, tells the feed in the same
-- transaction: by triggers, so that no way to change it is forgotten. They fire at the end of the transaction, since whoever
-- has the feed's row keeps all others from committing.

CREATE FUNCTION tell_change(which_topic TEXT, which_key TEXT) RETURNS void LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE told BIGINT;
BEGIN
    UPDATE feed SET number = number + 1 WHERE id = 1 RETURNING number INTO told;
    INSERT INTO changes (number, topic, key, at)
        VALUES (told, which_topic, which_key, extract(epoch FROM clock_timestamp()));
    PERFORM pg_notify('forerun_changes', '');
END $$;

CREATE FUNCTION tell_function() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM tell_change('function', OLD.account || ':' || OLD.name);
    ELSE
        PERFORM tell_change('function', NEW.account || ':' || NEW.name);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION tell_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(TG_ARGV[0], '');
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER functions_told AFTER INSERT OR UPDATE OR DELETE ON functions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER function_versions_told AFTER INSERT OR UPDATE OR DELETE ON function_versions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER aliases_told AFTER INSERT OR UPDATE OR DELETE ON aliases
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER function_policies_told AFTER INSERT OR UPDATE OR DELETE ON function_policies
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER event_invoke_configs_told AFTER INSERT OR UPDATE OR DELETE ON event_invoke_configs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER function_urls_told AFTER INSERT OR UPDATE OR DELETE ON function_urls
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_function();
CREATE CONSTRAINT TRIGGER identity_told AFTER UPDATE ON identity_changes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_topic('identity');
CREATE CONSTRAINT TRIGGER hosts_told AFTER INSERT OR DELETE ON hosts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_topic('hosts');
CREATE CONSTRAINT TRIGGER hosts_changed_told AFTER UPDATE ON hosts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.info IS DISTINCT FROM NEW.info OR OLD.phase <> NEW.phase OR OLD.incarnation <> NEW.incarnation
        OR OLD.address <> NEW.address)
    EXECUTE FUNCTION tell_topic('hosts');
