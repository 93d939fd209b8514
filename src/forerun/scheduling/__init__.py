"""Who may run now, and when to try again. Pure deciders; time and chance are arguments.

``Admission`` grants a ``Lease`` or raises ``Throttled``; ``Backoff`` gives the delays of asynchronous retries.
``parse_schedule`` reads AWS's schedule expressions; ``track`` and ``settle`` say how much capacity a function shall have.
``Deferral`` says which events that may wait are run now, by ``Room`` and by what is ``Usual`` at this hour.
``Preparer`` says what a host shall hold for what is expected, ``pool_floor`` how many sandboxes wait unassigned.
``grow``, ``shrink`` and ``take_back`` say which hosts of the ``Ring`` may run how much of a client's limit.
``place`` says which of several hosts runs a call.
"""

from forerun.scheduling.admission import RESERVED, UNRESERVED, Admission, Lease
from forerun.scheduling.backoff import Backoff
from forerun.scheduling.deferral import Deferral, Room, Turn, Usual, due_at
from forerun.scheduling.limits import Averages, Use, Waits, grow, shrink, take_back
from forerun.scheduling.placement import (
    Ask,
    Candidate,
    Placed,
    Rule,
    channel_ms,
    could_ever,
    load_ms,
    place,
    qualified,
)
from forerun.scheduling.pooling import Floor, Periodic, pool_floor
from forerun.scheduling.preparing import FOREVER, OVERLAP_S, Decision, Demand, Preparer
from forerun.scheduling.ring import Ring
from forerun.scheduling.schedules import Schedule, latest_due, parse_schedule
from forerun.scheduling.tracking import (
    Bounds,
    Forecast,
    Load,
    Periods,
    Target,
    Wanted,
    foreseen,
    settle,
    share_out,
    track,
)

__all__ = [
    "FOREVER",
    "OVERLAP_S",
    "RESERVED",
    "UNRESERVED",
    "Admission",
    "Ask",
    "Averages",
    "Backoff",
    "Bounds",
    "Candidate",
    "Decision",
    "Deferral",
    "Demand",
    "Floor",
    "Forecast",
    "Lease",
    "Load",
    "Periodic",
    "Periods",
    "Placed",
    "Preparer",
    "Ring",
    "Room",
    "Rule",
    "Schedule",
    "Target",
    "Turn",
    "Use",
    "Usual",
    "Waits",
    "Wanted",
    "channel_ms",
    "could_ever",
    "due_at",
    "foreseen",
    "grow",
    "latest_due",
    "load_ms",
    "parse_schedule",
    "place",
    "pool_floor",
    "qualified",
    "settle",
    "share_out",
    "shrink",
    "take_back",
    "track",
]
