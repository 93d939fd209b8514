-- How much of an account's concurrency each host may run.

-- The version goes up with each change of what hosts may run of an account, which so is made by one control plane at a time.
CREATE TABLE share_accounts (
    account TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
);

-- Function '' is what the account's functions share; else it is a reservation. A host may run "amount" calls at once, and counts as
-- "counted", which is more until it has said that it keeps to the amount. "epoch" is the account's version with which the amount
-- came; "renewed" goes up while some control plane hears of a host that counts as more than it may run. A row of nothing stays for
-- a while, so that who remembers something else learns of it.
CREATE TABLE shares (
    account TEXT NOT NULL,
    function TEXT NOT NULL,
    host TEXT NOT NULL,
    amount INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    renewed INTEGER NOT NULL,
    PRIMARY KEY (account, function, host)
);
CREATE INDEX shares_by_epoch ON shares (account, epoch);
CREATE INDEX shares_draining ON shares (account, function, host) WHERE counted > amount;
