-- works with 11
-- A fence is part of a key, so that who relies on it keeps it from being changed, and not the lease from being renewed.
CREATE UNIQUE INDEX leases_by_fence ON leases (name, fence);
