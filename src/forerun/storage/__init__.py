"""Durable state behind narrow stores. SQL lives here and nowhere else."""

from forerun.storage.db import Db, Row, Statement
from forerun.storage.invocations import InvocationFilter, InvocationPage, InvocationStore
from forerun.storage.log_groups import LogGroup, LogGroupStore, LogStream, StreamOrder
from forerun.storage.logs import LogBatch, LogStore
from forerun.storage.queue import EventQueue, QueueDepth, QueuedEvent
from forerun.storage.sealing import Sealer, load_or_create_key
from forerun.storage.sqlite import open_sqlite

__all__ = [
    "Db",
    "EventQueue",
    "InvocationFilter",
    "InvocationPage",
    "InvocationStore",
    "LogBatch",
    "LogGroup",
    "LogGroupStore",
    "LogStore",
    "LogStream",
    "QueueDepth",
    "QueuedEvent",
    "Row",
    "Sealer",
    "Statement",
    "StreamOrder",
    "load_or_create_key",
    "open_sqlite",
]
