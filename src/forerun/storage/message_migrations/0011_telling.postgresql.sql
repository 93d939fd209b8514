-- works with 10
-- How functions run once is remembered with all else that a call needs: it is told as a change of the function.

CREATE FUNCTION tell_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regproc('forerun.tell_change') IS NULL THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        PERFORM forerun.tell_change('function', OLD.account || ':' || OLD.name);
    ELSE
        PERFORM forerun.tell_change('function', NEW.account || ':' || NEW.name);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER once_configs_told AFTER INSERT OR UPDATE OR DELETE ON once_configs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_once();
