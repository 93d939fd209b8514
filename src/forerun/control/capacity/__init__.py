"""Capacity that users ask for: provisioned concurrency, and what scales it."""
