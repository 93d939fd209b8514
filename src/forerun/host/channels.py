"""What the paths from this host to services are like: moving averages of what was measured, actively or passively. Pure.

Times are seconds of a monotonic clock. The newest samples count most: what is ``LATENCY_S`` old weighs 1/e of what is new, and no
past weighs more than a few samples. So a path that changes for good is seen after two samples, and all but a tenth of the old value is gone
after about half a minute of probes five seconds apart, sooner where functions call the service often. A single latency far above
the others changes nothing: the next one must say the same.

What code in a sandbox says of its calls may be invented, and other accounts call the same services. So it counts only where the host has not
measured the path itself for ``OWN_S``, and takes no place from what it has.
"""

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from forerun.model import ChannelQuality

MOST_SERVICES = 200
FORGET_S = 600.0
OWN_S = 30.0
LATENCY_S, FAILURES_S, SLOW_S = 10.0, 30.0, 60.0

_MOST_LATENCY_MS = 600_000.0
_MOST_RATE = 1e12
_MOST_SAMPLES = 2**31
_FAR, _FAR_MS = 3.0, 20.0
_KNOWN = 1.9
_HELD_S = 60.0
_AGES = (0.0, 10.0, 30.0, 60.0, 120.0, 300.0, FORGET_S)
# What is not worth telling: this share of a latency, milliseconds, shares of calls, this share of a rate.
_SAME, _SAME_MS, _SAME_SHARE, _SAME_RATE = 0.1, 0.5, 0.02, 0.25


class Sample(NamedTuple):
    """Something that was measured of the path to a service (``HOST:PORT``).

    ``latency_ms`` of a round trip, ``None`` where it was not seen; ``failed``: nothing came back; ``bytes_per_s`` of something
    large that was carried; ``sent`` and ``resent`` segments, of which the latter were sent again. ``reported``: by code in a sandbox.
    """

    service: str
    latency_ms: float | None = None
    failed: bool = False
    bytes_per_s: float = 0.0
    sent: int = 0
    resent: int = 0
    reported: bool = False


class _Average:
    """A mean whose past fades within ``memory_s``, and never weighs more than ``most``."""

    __slots__ = ("_at", "_memory_s", "_most", "mean", "weight")

    def __init__(self, memory_s: float, most: float) -> None:
        self.mean = 0.0
        self.weight = 0.0
        self._at = -math.inf
        self._memory_s = memory_s
        self._most = most

    def add(self, value: float, now: float, weight: float = 1.0) -> None:
        most, known = self._most, self.weight
        if now > self._at:
            if known:
                known *= math.exp((self._at - now) / self._memory_s)
            self._at = now
        known = min(known, most)
        weight = min(weight, most)
        self.weight = known = known + weight
        self.mean += (value - self.mean) * weight / known


class _Channel:
    """The path to one service."""

    __slots__ = (
        "_far",
        "_far_at",
        "_samples",
        "_told",
        "at",
        "failures",
        "latency",
        "news",
        "rate",
        "resent",
    )

    def __init__(self) -> None:
        self.latency = _Average(LATENCY_S, 6.0)
        self.failures = _Average(FAILURES_S, 20.0)
        self.rate = _Average(SLOW_S, 6.0)
        self.resent = _Average(SLOW_S, 2000.0)
        self.at = -math.inf
        self._samples = 0
        self._far = 0.0
        self._far_at = -math.inf
        self.news = True
        self._told = ChannelQuality(0.0)

    def add(self, sample: Sample, now: float) -> None:
        self.at = max(self.at, now)
        self.news = True
        self._samples = min(self._samples + 1, _MOST_SAMPLES)
        self.failures.add(float(sample.failed), now)
        if sample.latency_ms is not None and not sample.failed:
            self._add_latency(sample.latency_ms, now)
        if sample.bytes_per_s > 0:
            self.rate.add(sample.bytes_per_s, now)
        if sample.sent > 0:
            self.resent.add(min(1.0, sample.resent / sample.sent), now, sample.sent)

    def _add_latency(self, latency_ms: float, now: float) -> None:
        average = self.latency
        if average.weight >= _KNOWN and latency_ms > _FAR * average.mean + _FAR_MS:
            if not self._far or now - self._far_at > _HELD_S:
                self._far, self._far_at = latency_ms, now
                return
            average.add(min(self._far, latency_ms), now)
        self._far = 0.0
        average.add(latency_ms, now)

    def told(self, now: float) -> ChannelQuality:
        """As before, where nothing is different that matters."""
        if self.news or self._told.age_s != _age(now - self.at):
            self.news = False
            quality = self.quality(now)
            if not (self._told.samples and _alike(self._told, quality)):
                self._told = quality
        return self._told

    def quality(self, now: float) -> ChannelQuality:
        """Rounded, so that equal paths are told equally."""
        return ChannelQuality(
            latency_ms=round(self.latency.mean, 2),
            failures=round(self.failures.mean, 3),
            bytes_per_s=float(round(self.rate.mean)),
            retransmits=round(self.resent.mean, 4),
            samples=self._samples,
            age_s=_age(now - self.at),
        )


class _Kept:
    """Paths to at most ``most`` services; the one without a sample for longest gives way."""

    def __init__(self, most: int) -> None:
        self.channels: OrderedDict[str, _Channel] = OrderedDict()
        self._most = most

    def add(self, sample: Sample, now: float) -> None:
        channel = self.channels.get(sample.service)
        if channel is None:
            while len(self.channels) >= self._most:
                self.channels.popitem(last=False)
            channel = self.channels[sample.service] = _Channel()
        channel.add(sample, now)
        self.channels.move_to_end(sample.service)

    def forget(self, now: float) -> None:
        while self.channels:
            service, channel = next(iter(self.channels.items()))
            if now - channel.at <= FORGET_S:
                return
            del self.channels[service]


class Channels:
    """The paths to at most ``most`` services that were measured, and as many again that were only reported; each goes after ``FORGET_S``.

    Samples that are no numbers, or out of any range, are ignored; a clock that goes back does no harm.
    """

    def __init__(self, most: int = MOST_SERVICES) -> None:
        self._measured = _Kept(most)
        self._reported = _Kept(most)

    def __len__(self) -> int:
        return len(self._measured.channels) + len(self._reported.channels)

    def add(self, sample: Sample, now: float) -> None:
        """Something was measured, or reported."""
        if not (math.isfinite(now) and _is_sound(sample)):
            return
        if not sample.reported:
            self._measured.add(sample, now)
        elif not self._is_measured(sample.service, now):
            self._reported.add(sample, now)

    def _is_measured(self, service: str, now: float) -> bool:
        channel = self._measured.channels.get(service)
        return channel is not None and now - channel.at <= OWN_S

    def quality(self, service: str, now: float) -> ChannelQuality | None:
        """What its path is like; ``None`` where nothing is known. A ``latency_ms`` of 0 with failures: nothing ever came back."""
        kept = self._measured if self._is_measured(service, now) else self._latest(service)
        channel = kept.channels.get(service)
        return channel.quality(now) if channel is not None else None

    def _latest(self, service: str) -> _Kept:
        """Where the newest sample of a service is."""
        measured = self._measured.channels.get(service)
        reported = self._reported.channels.get(service)
        if reported is None or (measured is not None and measured.at >= reported.at):
            return self._measured
        return self._reported

    def told(self, now: float) -> dict[str, ChannelQuality]:
        """Of all services, as others shall hear of it: what differs little from what was told before is told as before."""
        self._measured.forget(now)
        self._reported.forget(now)
        found = {each: channel.told(now) for each, channel in self._reported.channels.items()}
        for service, channel in self._measured.channels.items():
            if service not in found or self._latest(service) is self._measured:
                found[service] = channel.told(now)
        return found


def add_all(channels: Channels, samples: Iterable[Sample], now: float) -> None:
    """Several things were measured."""
    for sample in samples:
        channels.add(sample, now)


def _alike(one: ChannelQuality, other: ChannelQuality) -> bool:
    return (
        abs(one.latency_ms - other.latency_ms) <= max(_SAME_MS, _SAME * one.latency_ms)
        and abs(one.failures - other.failures) <= _SAME_SHARE
        and abs(one.retransmits - other.retransmits) <= _SAME_SHARE
        and abs(one.bytes_per_s - other.bytes_per_s) <= _SAME_RATE * one.bytes_per_s
        and one.age_s == other.age_s
        # Few samples may not be enough to be counted, so their number is told while it is small.
        and (other.samples == one.samples or one.samples >= 10)
    )


def _age(passed: float) -> float:
    """In coarse steps: what gets older all the time would have to be told all the time."""
    return _AGES[max(1, bisect_right(_AGES, passed)) - 1]


def _is_sound(sample: Sample) -> bool:
    latency, rate = sample.latency_ms, sample.bytes_per_s
    return (
        bool(sample.service)
        and (latency is None or 0 <= latency <= _MOST_LATENCY_MS)
        and 0 <= rate <= _MOST_RATE
        and sample.resent >= 0
        and sample.sent >= 0
    )
