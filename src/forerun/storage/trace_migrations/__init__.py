"""The schema of ``traces.db``, as numbered SQL files applied in order; see ``forerun.storage.schema``."""
