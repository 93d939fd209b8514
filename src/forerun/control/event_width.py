"""How many events are run at once: few sandboxes run many short ones; where handlers take their time more of them help. Pure."""

FEWEST_AT_ONCE = 8
LONG_RUN_S = 0.02
WIDEN_EVERY_S = 0.1


class Width:
    """``slots`` is how many, ``most`` at most. Moments are monotonic seconds."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.slots = min(FEWEST_AT_ONCE, most)
        self._run_s = 0.0
        self._widened_at = 0.0

    def close(self) -> None:
        """None at all from now on."""
        self.most = self.slots = 0

    def ran(self, seconds: float) -> None:
        """A run took so long."""
        self._run_s += 0.2 * (seconds - self._run_s)

    def widen(self, running: int, now: float) -> None:
        """More at once while all are busy with long runs; few again when there is nothing to do."""
        if not running:
            self.slots = min(FEWEST_AT_ONCE, self.most)
        elif running < self.slots or self._run_s < LONG_RUN_S:
            return
        elif now - self._widened_at >= WIDEN_EVERY_S:
            self.slots = min(self.slots * 2, self.most)
            self._widened_at = now

    def may_widen(self, running: int) -> bool:
        """Whether all are busy and there could be more."""
        return 0 < running == self.slots < self.most
