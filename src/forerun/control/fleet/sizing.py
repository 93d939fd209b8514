"""How many hosts there should be, and which one is let go. Pure: moments are seconds of a monotonic clock, given from outside.

More are asked for as soon as what runs and what is expected would fill the hosts beyond ``high``, or calls were refused; less only after the
fleet was below ``low`` for ``quiet_s``, one host at a time, and only when the others stay below ``high`` without it. The one that is let go is
the one with the least to do, though it may still run something: it gets nothing new, and ends when that is over. When room is wanted
again before that, it stays.
"""

import math
from collections.abc import Sequence

import msgspec

GROWTH = 0.5
"""The largest part of the fleet that is asked for at once beyond what there is."""


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """``low`` and ``high`` are parts of the fleet's memory; with a ``low`` of 0 no host is let go. ``quiet_s`` is also the least time
    between two that are. ``least`` hosts stay.
    """

    low: float = 0.0
    high: float = 0.7
    quiet_s: float = 60.0
    least: int = 1


class HostLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A host that gets calls, or one that is ``leaving``. ``used_mb`` is what idle sandboxes would not give back."""

    name: str
    memory_mb: int
    used_mb: int
    leaving: bool = False


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """``hosts`` with ``memory_mb`` together, one to ``leave``, those to ``keep`` that were leaving; empty where there is none."""

    hosts: int
    memory_mb: int
    leave: str = ""
    keep: tuple[str, ...] = ()


class Sizer:
    """Remembers since when the fleet has had little to do."""

    def __init__(self, sizing: Sizing) -> None:
        self._sizing = sizing
        self._quiet_since = math.inf

    def decide(
        self, loads: Sequence[HostLoad], *, expected_mb: int, refused: int, now: float
    ) -> Wish:
        """What to wish for. ``expected_mb`` is memory for calls that are expected beyond what is there, ``refused`` counts calls that
        found no room since this was last asked.
        """
        staying = [each for each in loads if not each.leaving]
        memory_mb = sum(each.memory_mb for each in staying)
        used_mb = sum(each.used_mb for each in loads)
        wanted_mb = used_mb + expected_mb
        if refused or wanted_mb > self._sizing.high * memory_mb:
            self._quiet_since = math.inf
            return self._more(loads, staying, wanted_mb, refused)
        leave = self._leaver(staying, wanted_mb, memory_mb, now)
        if leave is not None:
            memory_mb -= leave.memory_mb
        return Wish(
            hosts=len(staying) - (leave is not None),
            memory_mb=memory_mb,
            leave=leave.name if leave is not None else "",
        )

    def _more(
        self, loads: Sequence[HostLoad], staying: Sequence[HostLoad], wanted_mb: int, refused: int
    ) -> Wish:
        """Those that were leaving stay, the largest first; then others are asked for, a bounded number at once."""
        memory_mb = sum(each.memory_mb for each in staying)
        needed_mb = math.ceil(wanted_mb / self._sizing.high)
        if refused:
            needed_mb = max(needed_mb, memory_mb + 1)
        keep: list[str] = []
        leaving = [each for each in loads if each.leaving]
        for each in sorted(leaving, key=lambda each: (-each.memory_mb, each.name)):
            if memory_mb >= needed_mb:
                break
            keep.append(each.name)
            memory_mb += each.memory_mb
        hosts = len(staying) + len(keep)
        if memory_mb < needed_mb:
            usual_mb = memory_mb / hosts if hosts else needed_mb
            more = math.ceil((needed_mb - memory_mb) / max(1.0, usual_mb))
            more = min(more, max(1, math.ceil(GROWTH * hosts)))
            hosts += more
            memory_mb += math.ceil(more * usual_mb)
        return Wish(hosts=hosts, memory_mb=memory_mb, keep=tuple(keep))

    def _leaver(
        self, staying: Sequence[HostLoad], wanted_mb: int, memory_mb: int, now: float
    ) -> HostLoad | None:
        """The one that is let go now, if any."""
        sizing = self._sizing
        if len(staying) <= sizing.least or wanted_mb >= sizing.low * memory_mb:
            self._quiet_since = math.inf
            return None
        self._quiet_since = min(self._quiet_since, now)
        if now - self._quiet_since < sizing.quiet_s:
            return None
        for each in sorted(staying, key=lambda each: (each.used_mb, each.memory_mb, each.name)):
            if wanted_mb <= sizing.high * (memory_mb - each.memory_mb):
                self._quiet_since = now
                return each
        return None
