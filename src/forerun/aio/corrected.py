"""A wall clock that is kept at another one's time: that of the database which several machines share.

It goes on by the machine's monotonic clock, so that setting the machine's own wall clock changes nothing. A small correction
is made gradually: time neither jumps nor stands still. A large one is made at once, since to be wrong for minutes is worse.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from forerun.aio.clock import Clock

log = logging.getLogger("forerun.clock")

STEP_S = 1.0
SLEW = 0.05
"""Seconds of correction in a second, at most."""


class Reading(NamedTuple):
    """A look at the other clock: its time, and the monotonic clock just before it was asked and just after it answered."""

    asked: float
    time: float
    answered: float


def difference(readings: Sequence[Reading], believed: float) -> float:
    """By how much the other clock is ahead of the monotonic one, in seconds, as far as these readings tell.

    What is believed stays while the reading with the shortest round trip allows it: it is somewhere between the latest and the
    earliest moment at which that answer may have been made. Else it is the middle of them. Without readings nothing changes.
    """
    if not readings:
        return believed
    best = min(readings, key=lambda reading: reading.answered - reading.asked)
    least, most = best.time - best.answered, best.time - best.asked
    return believed if least <= believed <= most else (least + most) / 2


class CorrectedClock:
    """A ``Clock`` over the machine's; right from the first ``correct`` on."""

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self.monotonic = machine.monotonic
        self.sleep = machine.sleep
        # What monotonic time is to be added at `_since`, and what there is to be added in the end.
        self._offset = self._target = machine.now() - machine.monotonic()
        self._since = 0.0
        self._is_corrected = False

    @property
    def offset(self) -> float:
        """Seconds that the wall clock is to be ahead of the monotonic one, when all that is known is made good."""
        return self._target

    def now(self) -> float:
        """Wall clock, seconds since the epoch."""
        moment = self._machine.monotonic()
        if self._offset == self._target:
            return moment + self._offset
        return moment + self._slewed(moment)

    def correct(self, offset: float) -> float:
        """Be so many seconds ahead of the monotonic clock from now on, or soon; by how many seconds that is to change.

        What differs by less than a second is made good at 5 % of time's pace, the rest at once, which is logged; the first is
        made at once, too, since nobody has been told of another time before.
        """
        moment = self._machine.monotonic()
        self._offset = self._slewed(moment)
        self._since = moment
        self._target = offset
        change = offset - self._offset
        if abs(change) >= STEP_S:
            log.warning("the clock is set by %+.3f s to the database's time", change)
        if abs(change) >= STEP_S or not self._is_corrected:
            self._offset = offset
            self._is_corrected = True
        return change

    def _slewed(self, moment: float) -> float:
        missing = self._target - self._offset
        most = max(0.0, moment - self._since) * SLEW
        if abs(missing) <= most:
            self._offset = self._target
            return self._target
        return self._offset + (most if missing > 0 else -most)
