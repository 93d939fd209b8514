"""Times of a host in those of the control plane that asked, though their clocks differ. Pure.

Both ends of a call are known by both clocks: when it was sent and its answer came here, when it came and its answer was sent there.
So the difference of the clocks is measured anew with each call, wrong by no more than half of the time on the way, and no step of a
clock stays. Whatever a host says, a call lies between its ends, and lasts as long as the host has measured, if it can have.
"""

import msgspec

from forerun.cluster.frames import Moments
from forerun.host import Run
from forerun.model import InitReport, LogLine, Outcome, Timings

# What lines and calls tell is exact to a millisecond.
_NOTHING_S = 0.001
# More than any two clocks can differ by.
_LARGEST_S = 1e10


def offset_s(moments: Moments, sent: float, received: float) -> float:
    """What is to be added to the host's times; 0 for times that are none."""
    offset = ((sent - moments.received) + (received - moments.replied)) / 2
    return offset if abs(offset) < _LARGEST_S else 0.0


def fill(
    timings: Timings, outcome: Outcome | None, moments: Moments, sent: float, received: float
) -> float:
    """Set ``timings`` from ``acquired`` to ``ended``, and those of ``outcome``; the offset that was taken."""
    offset = offset_s(moments, sent, received)

    def here(moment: float) -> float:
        shifted = moment + offset
        return (
            shifted if sent <= shifted <= received else sent if not shifted > received else received
        )

    timings.acquired = here(moments.acquired) if moments.acquired else 0.0
    timings.loaded = here(moments.loaded) if moments.loaded else 0.0
    if not moments.started:
        return offset
    timings.started = started = here(moments.started)
    lasted = moments.ended - moments.started
    timings.ended = started + (
        lasted if 0 <= lasted <= received - sent else max(0.0, received - started)
    )
    if outcome is not None:
        outcome.started, outcome.ended = timings.started, timings.ended
    return offset


def shift(outcome: Outcome | None, init: InitReport | None, offset: float) -> None:
    """Move what tells of the run to the clock here: lines of its log, and the calls that it made."""
    if abs(offset) < _NOTHING_S:
        return
    ms = round(offset * 1000)
    if init is not None:
        init.logs = _moved(init.logs, ms)
    if outcome is None:
        return
    outcome.logs = _moved(outcome.logs, ms)
    for call in outcome.calls:
        call.started += offset
        call.ended += offset if call.ended else 0.0


def _moved(lines: list[LogLine], ms: int) -> list[LogLine]:
    return [msgspec.structs.replace(line, time_ms=line.time_ms + ms) for line in lines]


def arrive(run: Run, moments: Moments, timings: Timings, sent: float, received: float) -> None:
    """Move all times of a run to the clock here, by which it was sent and its answer received, and fill ``timings``."""
    outcome = run.outcome if isinstance(run.outcome, Outcome) else None
    shift(outcome, run.init, fill(timings, outcome, moments, sent, received))
