"""Durable state behind narrow stores. SQL lives here and nowhere else."""

from forerun.storage.db import Db, Row, Statement
from forerun.storage.sqlite import open_sqlite

__all__ = ["Db", "Row", "Statement", "open_sqlite"]
