"""How long events that are run here are surely nobody else's, so that none runs in two places. Pure.

An event is claimed for a while, and the claim is prolonged as long as it is run. A host goes on with a call for ``promised_s``
seconds after it last heard of its control plane; so a run must be ended here while its claim has more than that left, and
a control plane whose claims have less must not renew what hosts go by.
"""

from collections.abc import Collection, Iterable
from typing import Final

# Clocks of control planes agree to much less.
MARGIN_S: Final = 2.0
# Records of runs that are over are stored in much less, or never.
SETTLING_S: Final = 60.0
# Prolonged so many times in the time of one claim.
TIMES: Final = 5


class Claims:
    """The claims of one control plane. Moments are monotonic seconds.

    ``lease_s`` is how long a claim holds, ``promised_s`` how long a host goes on by itself.
    """

    def __init__(self, lease_s: float, promised_s: float) -> None:
        assert lease_s > 2 * MARGIN_S + promised_s, "a claim has to outlive what hosts are promised"
        self.lease_s = lease_s
        self._kept_s = promised_s + MARGIN_S
        self._running: dict[str, float] = {}
        self._over: dict[str, float] = {}

    @property
    def every_s(self) -> float:
        """Seconds between two times that claims are prolonged."""
        return self.lease_s / TIMES

    def take(self, event_id: str, until: float, now: float) -> bool:
        """Whether it may be run, which was claimed until then; it is run from now on if so."""
        if event_id in self._running or until - self._kept_s <= now:
            return False
        self._over.pop(event_id, None)
        self._running[event_id] = until
        return True

    def over(self, event_id: str, now: float) -> None:
        """Its run has ended; it stays claimed until it is settled, if that does not take too long."""
        if self._running.pop(event_id, None) is not None:
            self._over[event_id] = now + SETTLING_S

    def settled(self, event_ids: Iterable[str]) -> None:
        """They are finished, or given back."""
        for each in event_ids:
            self._running.pop(each, None)
            self._over.pop(each, None)

    def held(self, now: float) -> list[str]:
        """Those whose claims are to be prolonged."""
        for each in [each for each, until in self._over.items() if until <= now]:
            del self._over[each]
        return [*self._running, *self._over]

    def prolonged(self, asked: Collection[str], held: Collection[str], until: float) -> None:
        """Of those ``asked`` for, these are still held here, until then; the others are somebody else's."""
        holding = set(held)
        for each in asked:
            if each in self._running:
                self._running[each] = until if each in holding else 0.0
            elif each not in holding:
                self._over.pop(each, None)

    def lost(self, now: float) -> list[str]:
        """Those whose runs have to be ended now."""
        return [each for each, until in self._running.items() if until - self._kept_s <= now]

    def outlive(self, now: float) -> bool:
        """Whether hosts may be told to go on: the claim of everything that runs outlives what that promises them."""
        least = self._kept_s - MARGIN_S / 2
        return all(until - least > now for until in self._running.values())
