CREATE FUNCTION function_version_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO account_usage AS kept VALUES (new.account, new.code_size, CASE WHEN new.number = 0 THEN 1 ELSE 0 END)
    ON CONFLICT (account) DO UPDATE SET
        code_bytes = kept.code_bytes + excluded.code_bytes, functions = kept.functions + excluded.functions;
    RETURN NULL;
END $$;
CREATE TRIGGER function_version_added AFTER INSERT ON function_versions
FOR EACH ROW EXECUTE FUNCTION function_version_added();

CREATE FUNCTION function_version_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE account_usage SET code_bytes = code_bytes + new.code_size - old.code_size
    WHERE account = new.account;
    RETURN NULL;
END $$;
CREATE TRIGGER function_version_changed AFTER UPDATE OF code_size ON function_versions
FOR EACH ROW WHEN (old.code_size <> new.code_size) EXECUTE FUNCTION function_version_changed();

-- A package or tree lost a reference.
CREATE FUNCTION release_code(gone text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO code_released (digest) VALUES (gone) ON CONFLICT (digest) DO UPDATE SET released = NULL;
$$;

CREATE FUNCTION function_version_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE account_usage SET code_bytes = code_bytes - old.code_size,
        functions = functions - CASE WHEN old.number = 0 THEN 1 ELSE 0 END
    WHERE account = old.account;
    PERFORM release_code(old.code_digest);
    IF old.layers_digest IS NOT NULL THEN
        PERFORM release_code(old.layers_digest);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER function_version_removed AFTER DELETE ON function_versions
FOR EACH ROW EXECUTE FUNCTION function_version_removed();

CREATE FUNCTION function_code_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM release_code(old.code_digest);
    RETURN NULL;
END $$;
CREATE TRIGGER function_code_changed AFTER UPDATE OF code_digest ON function_versions
FOR EACH ROW WHEN (old.code_digest <> new.code_digest) EXECUTE FUNCTION function_code_changed();

CREATE FUNCTION function_layers_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM release_code(old.layers_digest);
    RETURN NULL;
END $$;
CREATE TRIGGER function_layers_changed AFTER UPDATE OF layers_digest ON function_versions
FOR EACH ROW WHEN (old.layers_digest IS NOT NULL AND old.layers_digest IS DISTINCT FROM new.layers_digest)
EXECUTE FUNCTION function_layers_changed();

CREATE FUNCTION layer_version_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO account_usage AS kept VALUES (new.account, new.code_size, 0)
    ON CONFLICT (account) DO UPDATE SET code_bytes = kept.code_bytes + excluded.code_bytes;
    RETURN NULL;
END $$;
CREATE TRIGGER layer_version_added AFTER INSERT ON layer_versions
FOR EACH ROW EXECUTE FUNCTION layer_version_added();

CREATE FUNCTION layer_version_removed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE account_usage SET code_bytes = code_bytes - old.code_size WHERE account = old.account;
    PERFORM release_code(old.code_digest);
    RETURN NULL;
END $$;
CREATE TRIGGER layer_version_removed AFTER DELETE ON layer_versions
FOR EACH ROW EXECUTE FUNCTION layer_version_removed();
