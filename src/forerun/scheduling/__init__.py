"""Who may run now, and when to try again. Pure deciders; time and chance are arguments.

``Admission`` grants a ``Lease`` or raises ``Throttled``; ``Backoff`` gives the delays of asynchronous retries.
``parse_schedule`` reads AWS's schedule expressions; ``track`` and ``settle`` say how much capacity a function shall have.
"""

from forerun.scheduling.admission import Admission, Lease
from forerun.scheduling.backoff import Backoff
from forerun.scheduling.schedules import Schedule, latest_due, parse_schedule
from forerun.scheduling.tracking import (
    Bounds,
    Forecast,
    Load,
    Periods,
    Target,
    Wanted,
    settle,
    share_out,
    track,
)

__all__ = [
    "Admission",
    "Backoff",
    "Bounds",
    "Forecast",
    "Lease",
    "Load",
    "Periods",
    "Schedule",
    "Target",
    "Wanted",
    "latest_due",
    "parse_schedule",
    "settle",
    "share_out",
    "track",
]
