"""Runs inside the sandbox: standard library only, on any Python from 3.9; knows nothing of the rest of the platform."""
