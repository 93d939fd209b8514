"""How right foresight has been about a function, and what its starts cost. Counted in memory, kept by the hour."""

from collections.abc import Sequence

import msgspec

HOUR_S = 3600
HOURS = 24
STARTS = 16
# A start that waited for others is no measure of one.
LONGEST_START_MS = 60_000.0


class Counts(msgspec.Struct):
    """What came of foresight in a stretch of time.

    ``hits`` are calls that found a sandbox which was there because they were expected, ``misses`` those that had to wait for a
    start. Of ``expected`` windows ``came`` were called in, ``lead_s`` seconds altogether after their sandboxes were
    begun. ``idle_mb_s`` is what waiting sandboxes have cost, in MB times seconds.
    """

    calls: int = 0
    hits: int = 0
    misses: int = 0
    expected: int = 0
    came: int = 0
    lead_s: float = 0.0
    idle_mb_s: float = 0.0

    def add(self, other: "Counts") -> None:
        """Count what the other has counted."""
        self.calls += other.calls
        self.hits += other.hits
        self.misses += other.misses
        self.expected += other.expected
        self.came += other.came
        self.lead_s += other.lead_s
        self.idle_mb_s += other.idle_mb_s


class Hour(Counts):
    """The hour that begins at ``at`` (epoch seconds)."""

    at: int = 0


class Score(msgspec.Struct):
    """All that is kept: of all time, of the last hours, and what starts cost: the last ones in ms, and MB held."""

    total: Counts = msgspec.field(default_factory=Counts)
    hours: list[Hour] = []
    starts_ms: list[float] = []
    memory_mb: float = 0.0

    def add(self, counts: Counts, now: float) -> None:
        """Count what has happened lately."""
        self.total.add(counts)
        at = int(now) // HOUR_S * HOUR_S
        if not self.hours or self.hours[-1].at != at:
            self.hours = [each for each in self.hours if at - HOURS * HOUR_S < each.at < at]
            self.hours.append(Hour(at=at))
        self.hours[-1].add(counts)


def typical(starts_ms: Sequence[float]) -> float:
    """The median of them; 0 without any."""
    return sorted(starts_ms)[len(starts_ms) // 2] if starts_ms else 0.0


def slow(starts_ms: Sequence[float]) -> float:
    """What nearly all of them stay below; 0 without any."""
    ordered = sorted(starts_ms)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Score).decode


def packed(score: Score) -> bytes:
    """For ``unpacked``."""
    return _encode(score)


def unpacked(body: bytes) -> Score:
    """What was packed; a new one for what is no score."""
    try:
        return _decode(body)
    except msgspec.MsgspecError:
        return Score()
