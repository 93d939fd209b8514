"""The schema, as numbered SQL files that are applied once, in order, and never edited after a release."""
