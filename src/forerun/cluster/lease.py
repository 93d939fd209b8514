"""Leases of work: until when a host goes on for a control plane, as both see it, each by its own monotonic clock. Pure.

The host asks by its beats, which carry when they were sent; the control plane answers with that very moment, and the host goes on
until ``lease_s`` after it. So the end is reckoned from a moment that lies before all that the control plane knows of, by one clock
alone, and neither delays nor clocks that differ make the host go on for longer than the control plane thinks. Rates of clocks may
differ by ``DRIFT``.
"""

import math

DRIFT = 0.01
"""How much faster or slower one machine's seconds may be than another's."""

END_S = 1.5
"""Seconds that a host needs to end what runs when its lease is over: to notice, to kill, to be dead."""


class WorkLease:
    """The host's side, one for each connection. Times are seconds of its monotonic clock."""

    __slots__ = ("_lease_s", "until")

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self.until = -math.inf

    def renewed(self, sent: float, now: float) -> None:
        """A beat that was sent at ``sent`` was answered. A moment that has not been is believed to nobody."""
        if sent <= now:
            self.until = max(self.until, sent + self._lease_s)

    def holds(self, now: float) -> bool:
        """Whether the host may work."""
        return now < self.until


class GrantedLease:
    """The control plane's side: until when the host may go on at the latest. Times are seconds of its monotonic clock."""

    __slots__ = ("_lease_s", "until")

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s * (1 + DRIFT) + END_S
        self.until = -math.inf

    def answer(self, received: float) -> None:
        """A beat that came at ``received`` is answered with a renewal now; before, not after it is sent."""
        self.until = max(self.until, received + self._lease_s)

    def over_in_s(self, now: float) -> float:
        """After how many seconds the host surely has ended what it began."""
        return max(0.0, self.until - now)
