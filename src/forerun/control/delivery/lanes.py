"""Which target is served next: one lane for each, so that one that is slow or down holds up nobody else. Pure.

A lane has at most one worker. A target that fails again and again is left alone for a while, longer each time; while it
is, single failures of others are theirs alone.
"""

from typing import NamedTuple

import msgspec

FORGIVEN = 3
"""So many failures in a row are taken for those of single messages."""


class Pauses(NamedTuple):
    """Seconds that a target is left alone: after the first failure too many, and at most."""

    first_s: float = 1.0
    most_s: float = 60.0


class Lane(msgspec.Struct, kw_only=True):
    """What is known of one target. ``due_at`` and ``paused_until`` are epoch seconds."""

    due_at: float
    working: bool = False
    failures: int = 0
    paused_until: float = 0.0

    @property
    def ready_at(self) -> float:
        """When it can be served next."""
        return max(self.due_at, self.paused_until)


class Lanes:
    """All lanes that have messages; bounded by the outbox's own bounds."""

    def __init__(self, pauses: Pauses | None = None) -> None:
        self._pauses = pauses or Pauses()
        self._lanes: dict[str, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def added(self, name: str, due_at: float) -> None:
        """A message came into a lane, due at that moment."""
        lane = self._lanes.get(name)
        if lane is None:
            self._lanes[name] = Lane(due_at=due_at)
        else:
            lane.due_at = min(lane.due_at, due_at)

    def ready(self, now: float) -> list[str]:
        """Lanes without a worker whose turn it is, the one that waits longest first."""
        found = [
            (lane.ready_at, name)
            for name, lane in self._lanes.items()
            if not lane.working and lane.ready_at <= now
        ]
        return [name for _, name in sorted(found)]

    def next_at(self) -> float | None:
        """When the next lane without a worker can be served; ``None`` when there is none."""
        return min(
            (lane.ready_at for lane in self._lanes.values() if not lane.working), default=None
        )

    def begin(self, name: str) -> None:
        """A worker takes the lane; what comes from now on is noticed again."""
        lane = self._lanes[name]
        lane.working = True
        lane.due_at = float("inf")

    def outcome(self, name: str, now: float, *, delivered: int, failed: int) -> bool:
        """What a batch of a lane came to; whether its worker may go on."""
        lane = self._lanes[name]
        if delivered or not failed:
            lane.failures = 0
            return True
        lane.failures += 1
        if lane.failures <= FORGIVEN:
            return True
        doubled = self._pauses.first_s * 2.0 ** min(lane.failures - FORGIVEN - 1, 32)
        lane.paused_until = now + min(doubled, self._pauses.most_s)
        return False

    def pause(self, name: str, until: float) -> None:
        """Leave a target alone until that moment: its messages must keep their order, and one was not taken."""
        self._lanes[name].paused_until = until

    def end(self, name: str, due_at: float | None) -> None:
        """The worker leaves; ``due_at`` is when the first message that it left is due, ``None`` when it left none."""
        lane = self._lanes[name]
        lane.working = False
        if due_at is not None:
            lane.due_at = min(lane.due_at, due_at)
        if lane.due_at == float("inf"):
            del self._lanes[name]

    def hasten(self, soon: float, by: float) -> None:
        """What is due after ``soon`` is due by then; pauses end ``by`` seconds earlier."""
        for lane in self._lanes.values():
            if not lane.working:
                lane.due_at = min(lane.due_at, soon)
            lane.paused_until -= by

    def paused(self, now: float) -> dict[str, float]:
        """Lanes that are left alone, and until when."""
        return {
            name: lane.paused_until for name, lane in self._lanes.items() if lane.paused_until > now
        }
