"""Signed webhooks: what others send to a URL of their own becomes a message for a function, a queue, a topic, a bus or a URL.

What is answered 202 is on disk and is delivered at least once, over any crash. What came before, as long as it could be
replayed, is answered 200 and not run again. Without a good signature nothing is taken, except by hooks whose scheme is
``none``. CloudEvents are taken in all three modes and known again by source and id.
"""

from forerun.sources.hooks.cloudevents import STRUCTURED, Event, trace_headers
from forerun.sources.hooks.hooks import Changed, Hooks, HookSettings, OpenHook
from forerun.sources.hooks.receiving import (
    MAX_BYTES,
    Arrival,
    Counts,
    Receipt,
    Receiver,
)

__all__ = [
    "MAX_BYTES",
    "STRUCTURED",
    "Arrival",
    "Changed",
    "Counts",
    "Event",
    "HookSettings",
    "Hooks",
    "OpenHook",
    "Receipt",
    "Receiver",
    "trace_headers",
]
