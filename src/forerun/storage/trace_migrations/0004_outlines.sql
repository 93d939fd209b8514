-- As much of a version's profile as lists and maps show, packed; written with the profile. Empty where it is not known yet
-- and must be made from the profile.
CREATE TABLE outlines (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, name, version)
);

INSERT INTO outlines (account, name, version, body) SELECT DISTINCT account, name, version, x'' FROM profiles;
