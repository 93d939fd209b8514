"""How long an asynchronous invocation waits before it is tried again, as on AWS. Pure: chance is an argument.

What the function itself did wrong is retried after one minute, then two. What the platform could not do (throttled, no
sandbox) is retried from one second up to five minutes apart, for as long as the event may live.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays in seconds. ``jitter`` is the share of a delay that chance may take away, so that retries do not gather.

    ``chance`` is a uniform number in [0, 1).
    """

    retry_s: float = 60.0
    system_min_s: float = 1.0
    system_max_s: float = 300.0
    jitter: float = 0.2

    def retry_delay(self, attempt: int, chance: float) -> float:
        """After attempt number ``attempt`` (from 1) ended with the function's error: 1 min, 2 min, ..."""
        return self.retry_s * max(1, attempt) * (1.0 - self.jitter * chance)

    def system_delay(self, refusals: int, chance: float) -> float:
        """After the platform refused the event ``refusals`` times (from 1): doubled each time up to the maximum."""
        doubled = self.system_min_s * 2.0 ** min(max(0, refusals - 1), 32)
        return min(doubled, self.system_max_s) * (1.0 - self.jitter * chance)
