"""Event buses: events are put on a bus, and its rules bring those that they want to targets; AWS's EventBridge.

``Buses`` and ``Rules`` keep what users own. ``Sender`` takes events: they are accepted when every message that they lead to is
on disk, and each target gets an event at least once. ``BusSink`` lets others send to buses; what goes from bus to bus ends after five.
``Firer`` fires rules with a schedule: at least once for a moment, and once for all moments that passed while the server was down.
A change of a rule counts for all events that are put after it was answered.
"""

from forerun.sources.buses.catalogue import Buses, BusWish
from forerun.sources.buses.firing import Firer
from forerun.sources.buses.limits import RULES, LimitExceeded, ManagedRule
from forerun.sources.buses.matching import Books
from forerun.sources.buses.names import BusName, Place, RuleName
from forerun.sources.buses.rules import Refused, Rules, RuleWish
from forerun.sources.buses.sending import Answer, BusSink, Entry, Sender

__all__ = [
    "RULES",
    "Answer",
    "Books",
    "BusName",
    "BusSink",
    "BusWish",
    "Buses",
    "Entry",
    "Firer",
    "LimitExceeded",
    "ManagedRule",
    "Place",
    "Refused",
    "RuleName",
    "RuleWish",
    "Rules",
    "Sender",
]
