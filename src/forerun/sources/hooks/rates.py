"""How many deliveries a hook takes. Pure: time is an argument."""

BURST_S = 2.0


class Bucket:
    """Lets ``rate`` per second through, and twice as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST_S)
        self._left = self._most
        self._at: float | None = None

    def take(self, now: float) -> float:
        """0 when one may pass, which then counts; else in how many seconds one may. ``now`` never goes back."""
        if self._at is not None:
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._rate
