"""What happened, told once and to whoever wants to know: one frozen type per event, and a bus that never waits.

Telling costs the teller an append. Each listener has a bounded buffer and a task of its own; what does not fit is
dropped and counted for that listener alone.
"""

from forerun.events.bus import Bus, Listener
from forerun.events.types import Event, ExecutionBegan, ExecutionEnded

__all__ = ["Bus", "Event", "ExecutionBegan", "ExecutionEnded", "Listener"]
