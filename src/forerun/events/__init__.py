"""What happened, told once and to whoever wants to know: one frozen type per event, and a bus that never waits.

Telling costs the teller an append. Each listener has a bounded buffer and a task of its own; what does not fit is
dropped and counted for that listener alone. **Events** are told of every execution; **notices** of functions that somebody
watches, and of what is rare.
"""

from forerun.events.bus import Bus, Listener
from forerun.events.types import (
    DeadLetterKept,
    Event,
    ExecutionBegan,
    ExecutionDetected,
    ExecutionEnded,
    ExecutionQueued,
    ExecutionSeen,
    ExecutionStarted,
    FindingRaised,
    FunctionChanged,
    HostChanged,
    MetaeventRaised,
    Notice,
    RecursionStopped,
)
from forerun.events.watch import Watch, Watched

__all__ = [
    "Bus",
    "DeadLetterKept",
    "Event",
    "ExecutionBegan",
    "ExecutionDetected",
    "ExecutionEnded",
    "ExecutionQueued",
    "ExecutionSeen",
    "ExecutionStarted",
    "FindingRaised",
    "FunctionChanged",
    "HostChanged",
    "Listener",
    "MetaeventRaised",
    "Notice",
    "RecursionStopped",
    "Watch",
    "Watched",
]
