"""Where events come from. Each source is a package of its own and knows none of the others.

A source keeps what users own in it, hands what happened to an ``Outbox``, and is a ``Sink`` or ``Pollable`` where others
send to it or take from it. Sources reach functions and each other only through these.
"""

from forerun.sources.contract import Backlog, Outbox, Pollable, Pulled, Shelf, Sink
from forerun.sources.timetable import Timetable

__all__ = ["Backlog", "Outbox", "Pollable", "Pulled", "Shelf", "Sink", "Timetable"]
