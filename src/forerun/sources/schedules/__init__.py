"""Schedules: a target is called at a time, at a rate, or by the calendar of a time zone; AWS's EventBridge Scheduler.

``Schedules`` keeps what users own, ``Firer`` hands a message over for each moment: at least once, with an id made of schedule and
moment. Of the moments that passed while the server was down the latest one is fired at the start, if it is not older than the
schedule's retry age. A moment that was fired is never fired again, whatever the clock does.
"""

from forerun.sources.schedules.firing import Firer
from forerun.sources.schedules.plan import following
from forerun.sources.schedules.service import DEFAULT, QuotaExceeded, Schedules, Wish
from forerun.sources.schedules.targets import group_arn, make_message, schedule_arn

__all__ = [
    "DEFAULT",
    "Firer",
    "QuotaExceeded",
    "Schedules",
    "Wish",
    "following",
    "group_arn",
    "make_message",
    "schedule_arn",
]
