"""The Lambda API: one file per resource, each offering its handlers by operation name."""
