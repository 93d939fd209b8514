"""What beats say of calls that count together: how many run on which host, and when a host was heard last."""

from forerun.cluster import Beat


class Heard:
    """Moments are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._running: dict[str, dict[str, int]] = {}
        self._at: dict[str, float] = {}

    def beat(self, host: str, beat: Beat, now: float) -> None:
        """A host said how it is; it is heard even when it says nothing new."""
        self._at[host] = now
        running = self._running.setdefault(host, {})
        if beat.whole:
            running.clear()
        for key, calls in beat.running.items():
            if calls > 0:
                running[key] = calls
            else:
                running.pop(key, None)

    def since(self, host: str, moment: float) -> bool:
        """Whether the host was heard at that moment or later."""
        return self._at.get(host, -1.0) >= moment

    def running_on(self, host: str, key: str) -> int | None:
        """Calls of a key on a host; ``None`` when nothing is known of the host."""
        running = self._running.get(host)
        return None if running is None else running.get(key, 0)

    def running(self, *, after: float) -> dict[str, dict[str, int]]:
        """Calls by key, of each host that was heard after that moment."""
        return {host: running for host, running in self._running.items() if self._at[host] >= after}

    def forget(self, *, before: float) -> None:
        """Forget hosts that have not been heard since."""
        for host in [host for host, at in self._at.items() if at < before]:
            del self._at[host]
            self._running.pop(host, None)
