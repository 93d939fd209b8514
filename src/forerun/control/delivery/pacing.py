"""How much a poller takes, and how many batches it runs at once. Pure: time and chance are arguments.

It begins with a few at once. Where handlers take their time and more waits at the source than can run, it runs twice as
many, again and again; when nothing comes, few. What is refused for lack of room halves that and makes it wait.
"""

from forerun.scheduling import Backoff

FEWEST = 5
WIDEN_EVERY_S = 0.1
# Short handlers are served by few sandboxes; of longer ones more at once get more done.
LONG_RUN_S = 0.02
# The first runs are slow because of their starts; only when they stay away is it the handler.
UNSEEN_RUN_S = 1.0
# What runs within so many seconds from now may be taken ahead, so that nobody waits for the source.
AHEAD_S = 0.002
MOST_AHEAD = 64
MOST_TAKEN = 1000
# Bytes of records that may be held; until their size is known so many of the largest.
HELD_BYTES = 32 * 1024 * 1024
UNKNOWN_BYTES = 256 * 1024
BACKOFF = Backoff(system_min_s=0.1, system_max_s=15.0, jitter=0.5)


class Pace:
    """``most`` batches at once; ``size`` messages in each. Times are seconds of the monotonic clock."""

    def __init__(self, *, most: int, size: int) -> None:
        self._most = most
        self._size = size
        self._run_s = 0.0
        self._handler_s = 0.0
        self._record_bytes = float(UNKNOWN_BYTES)
        self._widened_at = 0.0
        self._refusals = 0
        self._full = False
        self.paused_until = 0.0
        self.slots = min(FEWEST, most)

    @property
    def at_rest(self) -> bool:
        """Whether no more run at once than in the beginning."""
        return self.slots == min(FEWEST, self._most)

    def room(self, now: float, *, running: int, waiting: int, free: int) -> int:
        """How many messages to ask for; 0 for none now.

        ``running`` batches run, ``waiting`` messages were taken and do not run yet, and ``free`` further calls of the
        function would be admitted.
        """
        slots = min(self.slots, running + free)
        if now < self.paused_until or slots <= 0:
            return 0
        ahead = self._ahead(slots)
        room = (slots + ahead - running) * self._size - waiting
        # Behind short runs it is cheaper to ask for some at a time.
        if room < max(1, ahead * self._size // 2):
            return 0
        held = int(HELD_BYTES / self._record_bytes) - waiting
        return max(0, min(room, MOST_TAKEN, max(1, held)))

    def took(self, asked: int, got: int, record_bytes: int) -> None:
        """The source gave ``got`` messages, of ``record_bytes`` altogether, where up to ``asked`` were wanted."""
        self._full = got >= asked
        if got:
            self._record_bytes = max(1.0, 0.5 * self._record_bytes + 0.5 * record_bytes / got)
        else:
            self.slots = min(FEWEST, self._most)

    def ran(self, run_s: float, handler_s: float) -> None:
        """A batch has ended after ``run_s`` seconds, of which the handler took ``handler_s``."""
        self._run_s += 0.2 * (run_s - self._run_s)
        self._handler_s += 0.2 * (handler_s - self._handler_s)
        self._refusals = 0

    def widen(self, now: float, *, running: int, longest_s: float) -> bool:
        """Run more at once if all are busy, more waits, and it is the handlers that take long; whether it does.

        ``longest_s`` is how long the first of those that run has been running.
        """
        if running < self.slots or not self._full or now - self._widened_at < WIDEN_EVERY_S:
            return False
        if self.slots == self._most:
            return False
        if self._handler_s < LONG_RUN_S and longest_s < UNSEEN_RUN_S:
            return False
        self.slots = min(self.slots * 2, self._most)
        self._widened_at = now
        return True

    def refused(self, now: float, chance: float) -> float:
        """There was no room, or the source failed: take nothing for a while; until when. ``chance`` is in [0, 1)."""
        if now >= self.paused_until:
            self._refusals += 1
            self.slots = max(1, self.slots // 2)
            self.paused_until = now + BACKOFF.system_delay(self._refusals, chance)
        return self.paused_until

    def _ahead(self, slots: int) -> int:
        """Batches that begin within the next moment."""
        if not 0.0 < self._run_s < AHEAD_S * slots:
            return 0
        return min(MOST_AHEAD, int(slots * AHEAD_S / self._run_s))
